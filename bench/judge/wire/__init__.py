"""What measured rows mean on the wires. A *reading* is one such derived figure: one for each row, and three of what the
nodes reached of the target (3200 Gb/s a node), which must agree.

of_row(row, evidence)   algorithm used, network rate a node, share of the target, ceiling
of_target(evidence)     port counters, forced Ring, rails point-to-point, side by side
of_layers(evidence)     link, verbs, point-to-point and collective of every rail, and which loses
"""

from .algorithm import AlgorithmUsed, algorithm_used
from .group_shape import Unplaced, shape_of
from .rail_layers import RailLayers, RailRow, of_layers
from .row_reading import RowReading, is_possible, of_row, why_not
from .target import TargetReading, TargetReadings, of_target
