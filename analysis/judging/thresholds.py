"""Every threshold that a verdict rests on, in one place and fixed before any data.

Changing one changes what the tool says of every run: note it in the changelog.
"""

LEVEL = 0.05
"""Adjusted p below which a change is called abrupt."""

CLEAR = 10.0
"""Score change over noise above which noise cannot make accuracy rise."""

EQUAL = 0.05
"""Difference of accuracy up to which two checkpoints, or two scorings, count as equal."""

EXPLAINS = 0.5
"""Share of a step above which a counterfactual explains it, below which it does not."""

CARRIES = 0.5
"""Least lower bound of the share of the margin's change that a sufficient part brings, or a
necessary one takes away."""

REPLACES = 0.8
"""Share that one constant vector must recover to be what was added."""

FAILS = 0.3
"""Upper bound of a share below which an intervention did next to nothing."""

FLAT = 0.05
"""Change of a probe's top-1 that counts as none."""

CEILING = 0.9
"""Top-1 at the base above which a flat probe may only have no room to rise."""

ALIKE = 0.9
"""CKA within questions above which candidates are arranged as before."""

FEW = 0.25
"""Share of attention heads up to which they are few."""

TIGHT = 0.1
"""10-90 range of crossing times, as a share of the series, below which they are one."""

WIDE = 0.25
"""The same range above which questions cross at times of their own."""

SWITCHES = 0.7
"""Share of its range that a margin covers near its own crossing to be called a switch."""

REACHES = 0.8
"""Share of a run's gain above which, with its lower bound, a control run does what the run does;
below `FAILS`, with its upper bound, it does next to nothing of it."""

FOLLOWS = 0.5
"""Least lower bound of the within-question correlation of score changes with how likely answers
are without their question, for the changes to follow that prior."""

NEAR_GAPS = 3.0
"""Gaps between checkpoints within which the whole interval of a lead must lie to be with the jump:
one for the place of each of the two, one for quantities that are not linear in one another."""

NEAR_WIDTH = 0.5
"""The same as a share of the jump's 10-90 width, where that is more: from its middle to its end."""

LATER = 1.5
"""Factor by which the last common time of run and control lies beyond the run's jump before a
control can be said to lack it: one that only jumps later has had the time to."""
