"""When there is no time for all pairs: groups, then halves of the slow ones, then confirmation.

A probe is a ring of nodes: each sends to the next and receives from the one before, all rails at once;
its result is the slowest link on each rail (of several iterations, the median). The probes of a step
share no node, so they run at the same time.

1. √N rings of about √N nodes: every port of every node sends and receives once. On more than 64 nodes a ring for each
   leaf, as the fabric's tools say where they were heard and else for each 32 nodes, and then rings of one node of each.
2. A slow ring is cut in halves until the slow node is alone; both halves fast means that the fault lies
   on a link that the cut took away, so those two links are measured alone.
3. A node under suspicion meets two different nodes of fast rings before it is named.

Nothing here keeps a state: ``step`` reads all results so far and says what follows, so a run can be
stopped, resumed and replayed.
"""

from bench.plan.screening.rings import (
    LEAF_NODES,
    MOST_IN_PAIRS,
    Coverage,
    Results,
    Ring,
    ScreenedFault,
    ScreeningTask,
    Step,
    across,
    groups,
    links,
    most_steps,
    nodes_by_leaf,
)
from bench.plan.screening.slow_ring_search import step
