"""How are recordings of event cameras attacked? Threats on event frames, and attacks that change whole events."""

from spikeproof.attacks.events.threats import EventEdits, EventFlips, FrameL2, FrameLinf, Retiming

__all__ = ["EventEdits", "EventFlips", "FrameL2", "FrameLinf", "Retiming"]
