"""Charts: pure functions of frames. ``chart.py`` says how to add one to CHARTS, which a report draws."""

from . import collectives, rails, soak, watch
from .bars import ranked_bars
from .chart import CHARTS, Chart
from .trend import trend

__all__ = ["CHARTS", "Chart", "collectives", "rails", "ranked_bars", "soak", "trend", "watch"]
