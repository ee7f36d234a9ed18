"""Mathematically equal ways of computing a pyramid's levels, and the choice among them.

    library      the definition: one grouped convolution a level
    direct       compiled here: vectors over input maps, added up within each group at the end (processors)
    depthwise    a depthwise convolution, added up within each group
    merged       neighbouring groups joined to block-diagonal ones

A formulation changes neither parameters nor counted FLOPs: those are the definition's.
"""
