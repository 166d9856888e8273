// TCP and UDP servers and clients of exact numbers, for images without a Python.
//
// A request begins with its own length and that of the reply wanted, 8 bytes each.
package main

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const headerBytes = 16

// counts are what one end saw, in payload bytes. A connection of UDP is a socket.
type counts struct {
	Connections   int64 `json:"connections"`
	Requests      int64 `json:"requests"`
	BytesSent     int64 `json:"bytes_sent"`
	BytesReceived int64 `json:"bytes_received"`
	Errors        int64 `json:"errors"`
}

// report is printed as one line. Of a server Peers are its clients, of a client the
// addresses it called; Open counts the connections that are not closed yet.
type report struct {
	TCP   counts             `json:"tcp"`
	UDP   counts             `json:"udp"`
	Open  int                `json:"open"`
	Local map[string]*counts `json:"local"`
	Peers map[string]*counts `json:"peers"`
	Error string             `json:"error,omitempty"`
}

type recorder struct {
	mutex   sync.Mutex
	report  report
	changed bool
}

func newRecorder() *recorder {
	return &recorder{report: report{Local: map[string]*counts{}, Peers: map[string]*counts{}}}
}

func (r *recorder) add(network string, local, peer net.Addr, delta counts, open int) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	total := &r.report.TCP
	if network == "udp" {
		total = &r.report.UDP
	}
	for _, sum := range []*counts{total, entry(r.report.Local, local), entry(r.report.Peers, peer)} {
		sum.Connections += delta.Connections
		sum.Requests += delta.Requests
		sum.BytesSent += delta.BytesSent
		sum.BytesReceived += delta.BytesReceived
		sum.Errors += delta.Errors
	}
	r.report.Open += open
	r.changed = true
}

func entry(table map[string]*counts, address net.Addr) *counts {
	host, _, err := net.SplitHostPort(address.String())
	if err != nil {
		host = address.String()
	}
	if table[host] == nil {
		table[host] = &counts{}
	}
	return table[host]
}

func (r *recorder) fail(network string, err error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if network == "udp" {
		r.report.UDP.Errors++
	} else {
		r.report.TCP.Errors++
	}
	r.report.Error = err.Error()
}

func (r *recorder) print(always bool) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if always || r.changed {
		line, _ := json.Marshal(r.report)
		fmt.Println(string(line))
		r.changed = false
	}
}

func request(buffer []byte, replyBytes int) []byte {
	binary.BigEndian.PutUint64(buffer, uint64(len(buffer)))
	binary.BigEndian.PutUint64(buffer[8:], uint64(replyBytes))
	return buffer
}

func serve(arguments []string) error {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	flags.Parse(arguments)
	address := ":5000"
	if flags.NArg() > 0 {
		address = flags.Arg(0)
	}
	bound, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return err
	}
	packets, err := net.ListenUDP("udp", bound)
	if err != nil {
		return err
	}
	askForDestinations(packets)
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	recorder := newRecorder()
	recorder.print(true)
	go endWith(recorder, 0)
	go servePackets(packets, recorder)
	go printChanges(recorder)
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go serveConnection(connection, recorder)
	}
}

// endWith ends the process at SIGTERM, which the first process of a container ignores
// unless it asks for it.
func endWith(recorder *recorder, status int) {
	waitForEnd()
	recorder.print(true)
	os.Exit(status)
}

func waitForEnd() { <-notifyEnd() }

func notifyEnd() chan os.Signal {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	return ended
}

func printChanges(recorder *recorder) {
	for {
		time.Sleep(100 * time.Millisecond)
		recorder.print(false)
	}
}

func serveConnection(connection net.Conn, recorder *recorder) {
	local, peer := connection.LocalAddr(), connection.RemoteAddr()
	recorder.add("tcp", local, peer, counts{Connections: 1}, 1)
	for {
		delta, err := answer(connection)
		recorder.add("tcp", local, peer, delta, 0)
		if err != nil {
			break
		}
	}
	connection.Close()
	recorder.add("tcp", local, peer, counts{}, -1)
}

// answer reads one request and writes its reply; it counts also what came of a torn one.
func answer(connection net.Conn) (delta counts, err error) {
	var header [headerBytes]byte
	read, err := io.ReadFull(connection, header[:])
	delta.BytesReceived = int64(read)
	if err == io.EOF {
		return delta, err
	}
	if err != nil {
		delta.Errors = 1
		return delta, err
	}
	length := int64(binary.BigEndian.Uint64(header[:]))
	rest, err := io.CopyN(io.Discard, connection, length-headerBytes)
	delta.BytesReceived += rest
	if err == nil {
		delta.Requests = 1
		delta.BytesSent, err = io.CopyN(connection, zeros{}, int64(binary.BigEndian.Uint64(header[8:])))
	}
	if err != nil {
		delta.Errors = 1
	}
	return delta, err
}

type zeros struct{}

func (zeros) Read(buffer []byte) (int, error) {
	clear(buffer)
	return len(buffer), nil
}

// servePackets answers from the address that was asked: a node has several.
func servePackets(packets *net.UDPConn, recorder *recorder) {
	buffer, control := make([]byte, 1<<16), make([]byte, 256)
	for {
		length, controlLength, _, peer, err := packets.ReadMsgUDP(buffer, control)
		if err != nil || length < headerBytes {
			continue
		}
		local, source := findDestination(packets.LocalAddr(), control[:controlLength])
		reply := min(binary.BigEndian.Uint64(buffer[8:]), 65000)
		delta := counts{Requests: 1, BytesReceived: int64(length)}
		if reply > 0 {
			sent, _, err := packets.WriteMsgUDP(make([]byte, reply), source, peer)
			delta.BytesSent = int64(sent)
			if err != nil {
				delta.Errors = 1
			}
		}
		recorder.add("udp", local, peer, delta, 0)
	}
}

func askForDestinations(packets *net.UDPConn) {
	raw, err := packets.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(descriptor uintptr) {
		syscall.SetsockoptInt(int(descriptor), syscall.IPPROTO_IPV6, syscall.IPV6_RECVPKTINFO, 1)
	})
}

// findDestination returns the address that a datagram was sent to, and the control
// message that makes it the source of the reply. The interface is left to the route.
func findDestination(bound net.Addr, control []byte) (net.Addr, []byte) {
	messages, err := syscall.ParseSocketControlMessage(control)
	if err != nil {
		return bound, nil
	}
	for _, message := range messages {
		if message.Header.Level == syscall.IPPROTO_IPV6 && message.Header.Type == syscall.IPV6_PKTINFO {
			address := net.IP(append([]byte{}, message.Data[:net.IPv6len]...))
			clear(message.Data[net.IPv6len:])
			return &net.UDPAddr{IP: address}, control
		}
	}
	return bound, nil
}

type call struct {
	network              string
	target               string
	connections, rounds  int
	bytes, replyBytes    int
	interval             time.Duration
	together, untilEnded bool
	recorder             *recorder
}

func runCall(arguments []string) error {
	flags := flag.NewFlagSet("call", flag.ExitOnError)
	made := call{network: "tcp", recorder: newRecorder()}
	udp := flags.Bool("udp", false, "datagrams; a connection is a socket")
	family := flags.String("family", "", "4 or 6: which address of a name is called")
	flags.IntVar(&made.connections, "connections", 1, "how many")
	flags.IntVar(&made.rounds, "rounds", 1, "requests on each connection")
	flags.IntVar(&made.bytes, "bytes", 100, "of a request, at least 16")
	flags.IntVar(&made.replyBytes, "reply-bytes", 100, "of a reply")
	flags.DurationVar(&made.interval, "interval", 0, "pause after each request")
	flags.BoolVar(&made.together, "together", false, "open all, then exchange, then close all")
	flags.BoolVar(&made.untilEnded, "until-ended", false, "with -together: rounds until SIGTERM")
	host, err := parseInterspersed(flags, arguments)
	if err != nil {
		return err
	}
	if *udp {
		made.network = "udp"
	}
	if made.target, err = resolve(host, *family); err != nil {
		return err
	}
	made.bytes = max(made.bytes, headerBytes)
	if made.together {
		made.exchangeTogether(notifyEnd())
	} else {
		go endWith(made.recorder, 1)
		made.exchangeInTurn()
	}
	made.recorder.print(true)
	if made.recorder.report.TCP.Errors+made.recorder.report.UDP.Errors > 0 {
		os.Exit(1)
	}
	return nil
}

// parseInterspersed allows the flags behind the address as well as before it.
func parseInterspersed(flags *flag.FlagSet, arguments []string) (string, error) {
	flags.Parse(arguments)
	if flags.NArg() == 0 {
		return "", fmt.Errorf("usage: call HOST:PORT [flags]")
	}
	host := flags.Arg(0)
	flags.Parse(flags.Args()[1:])
	return host, nil
}

// resolve asks once, so that a name with two addresses is not raced for.
func resolve(target, family string) (string, error) {
	host, port, err := net.SplitHostPort(target)
	if err != nil {
		return "", err
	}
	address, err := net.ResolveIPAddr("ip"+family, host)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(address.String(), port), nil
}

func (c *call) exchangeInTurn() {
	for range c.connections {
		connection := c.dial()
		if connection == nil {
			continue
		}
		for range c.rounds {
			if !c.exchange(connection) {
				break
			}
			time.Sleep(c.interval)
		}
		connection.Close()
	}
}

func (c *call) exchangeTogether(ended chan os.Signal) {
	var connections []net.Conn
	for range c.connections {
		if connection := c.dial(); connection != nil {
			connections = append(connections, connection)
		}
	}
	c.recorder.print(true)
	for round := 0; c.untilEnded || round < c.rounds; round++ {
		for _, connection := range connections {
			c.exchange(connection)
		}
		select {
		case <-ended:
			c.untilEnded, c.rounds = false, 0
		case <-time.After(c.interval):
		}
	}
	for _, connection := range connections {
		connection.Close()
	}
}

func (c *call) dial() net.Conn {
	connection, err := net.DialTimeout(c.network, c.target, 30*time.Second)
	if err != nil {
		c.recorder.fail(c.network, err)
		return nil
	}
	c.recorder.add(c.network, connection.LocalAddr(), connection.RemoteAddr(), counts{Connections: 1}, 0)
	return connection
}

func (c *call) exchange(connection net.Conn) bool {
	connection.SetDeadline(time.Now().Add(30 * time.Second))
	sent, err := connection.Write(request(make([]byte, c.bytes), c.replyBytes))
	delta := counts{BytesSent: int64(sent)}
	if err == nil && c.replyBytes > 0 {
		var received int
		received, err = c.readReply(connection)
		delta.BytesReceived = int64(received)
	}
	if err == nil {
		delta.Requests = 1
	}
	c.recorder.add(c.network, connection.LocalAddr(), connection.RemoteAddr(), delta, 0)
	if err != nil {
		c.recorder.fail(c.network, err)
	}
	return err == nil
}

func (c *call) readReply(connection net.Conn) (int, error) {
	buffer := make([]byte, c.replyBytes)
	if c.network == "udp" {
		return connection.Read(buffer)
	}
	return io.ReadFull(connection, buffer)
}

// listening tells whether a TCP socket listens on a port, without a connection to it.
func listening(arguments []string) error {
	_, port, err := net.SplitHostPort(arguments[0])
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	for _, table := range []string{"tcp", "tcp6"} {
		text, _ := os.ReadFile("/proc/self/net/" + table)
		for _, line := range strings.Split(string(text), "\n") {
			fields := strings.Fields(line)
			if len(fields) > 3 && fields[3] == "0A" && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", number)) {
				return nil
			}
		}
	}
	return fmt.Errorf("nobody listens on %s", arguments[0])
}

// wait does nothing until SIGTERM: a pause container, or one to execute things in.
func wait([]string) error {
	waitForEnd()
	return nil
}

func main() {
	commands := map[string]func([]string) error{"serve": serve, "call": runCall, "wait": wait, "listening": listening}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: ebpf-net-test serve [ADDRESS] | call HOST:PORT [flags] | wait | listening ADDRESS")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
