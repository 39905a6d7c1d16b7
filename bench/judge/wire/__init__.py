"""What measured rows mean on the wire: one reading a row, and three of the target that must agree.

of_row(row, evidence)   algorithm used, network rate a node, share of the target, ceiling
of_target(evidence)     port counters, forced Ring, rails point-to-point, side by side
of_layers(evidence)     link, verbs, point-to-point and collective of every rail, and which loses
"""

from .algorithm import AlgorithmUsed, algorithm_used
from .group_shape import Unplaced, shape_of
from .rail_layers import RailLayers, RailRow, of_layers
from .row_reading import RowReading, is_possible, of_row, why_not
from .target import TargetReading, TargetReadings, of_target
