"""Evidence: what came out, and how it compares with the paper. Records, verdicts, reports. Rendering needs no torch."""
