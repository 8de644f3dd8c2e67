"""Which trained networks hold under attack, and how is that shown: on a page, as a table, as data?"""

from spikeproof.reports.forms.written import write_report
from spikeproof.reports.reading.contenders import Row
from spikeproof.reports.reading.intervals import Estimate
from spikeproof.reports.reading.rankings import ranking

__all__ = ["Estimate", "Row", "ranking", "write_report"]
