"""Which trained networks hold under attack, and how is that shown: on a page, as a table, as data?"""

from spikeproof.reports.forms import write_report
from spikeproof.reports.intervals import Estimate
from spikeproof.reports.rankings import Row, ranking

__all__ = ["Estimate", "Row", "ranking", "write_report"]
