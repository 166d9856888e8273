"""Programs that observe one source each and put out tables."""
