"""The printers: each makes pages of a `results.gather.Report`, none of them decides anything."""
