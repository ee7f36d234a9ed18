"""The paper's pictures, drawn again from what tests have kept: one module that reads, one that draws."""
