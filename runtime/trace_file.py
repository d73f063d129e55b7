"""Writes a trace in Perfetto's own format, which https://ui.perfetto.dev shows.

A file is a list of packets. First come the tracks, with their parents; then, for each slice, a packet where it begins
and one where it ends. A text is written once and has a number from then on, as names and lines of code come again with
every step. An arrow is a number too: that of a flow, which the slice says that it leaves, and the one that it reaches.

Slices of one track may overlap only if one is within the other. Steps overlap otherwise, so a track is written as a
number of lanes, in each of which nothing overlaps: tracks of one name, which viewers show as one.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from atoll.runtime.program import Program
from atoll.runtime.trace import Traced
from atoll.runtime.trace_slices import Flow, Slice, Track, slices, tracks
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import TracePacket, TrackDescriptor, TrackEvent
from perfetto.trace_builder.proto_builder import TraceProtoBuilder

# All packets are of one sequence, in which texts have their numbers.
_SEQUENCE = 1
_ROOT = 0  # the number of the track that all others are in


def to_bytes(program: Program, records: Sequence[Traced]) -> bytes:
    """The file of a program's trace."""
    found = defaultdict(list)
    for one in slices(program, records):
        found[one.track].append(one)
    file = _File()
    file.root()
    numbers: dict[Track, int] = {}
    for track in tracks(program):
        parent = numbers[Track(track.island)] if track.part else _ROOT
        for lane in _lanes(found[track]):
            number = file.track(track.title, parent)
            numbers.setdefault(track, number)
            for one in lane:
                file.slice(number, one)
    return file.to_bytes()


def _lanes(its: Iterable[Slice]) -> list[list[Slice]]:
    """The slices of a track in lists, in none of which they overlap; one list if there are no slices."""
    lanes: list[list[Slice]] = [[]]
    for one in sorted(its, key=lambda one: (one.start, one.end)):
        lane = next((lane for lane in lanes if not lane or lane[-1].end <= one.start), None)
        if lane is None:
            lanes.append([one])
        else:
            lane.append(one)
    return lanes


class _File:
    """Packets, and the numbers that have been given."""

    def __init__(self) -> None:
        self._builder = TraceProtoBuilder()
        self._texts: dict[str, dict[str, int]] = defaultdict(dict)  # by kind; the number of each
        self._flows: dict[Flow, int] = {}
        self._tracks = 0
        self._flags = TracePacket.SEQ_INCREMENTAL_STATE_CLEARED  # of the next packet; no text has a number before

    def to_bytes(self) -> bytes:
        data: bytes = self._builder.serialize()
        return data

    def root(self) -> None:
        """What all tracks are in; it is there to say that they stand in the order of their ranks."""
        descriptor = self._packet().track_descriptor
        descriptor.uuid = _ROOT
        descriptor.child_ordering = TrackDescriptor.EXPLICIT

    def track(self, title: str, parent: int) -> int:
        """A track below those before it; returns its number."""
        self._tracks += 1
        descriptor = self._packet().track_descriptor
        descriptor.uuid = descriptor.sibling_order_rank = self._tracks
        descriptor.parent_uuid = parent
        descriptor.name = title
        descriptor.child_ordering = TrackDescriptor.EXPLICIT
        return self._tracks

    def slice(self, track: int, one: Slice) -> None:
        packet = self._event(track, one.start, TrackEvent.TYPE_SLICE_BEGIN)
        event = packet.track_event
        event.name_iid = self._number(packet, "event_names", one.name)
        event.category_iids.append(self._number(packet, "event_categories", one.category))
        for name, value in one.told.items():
            self._tell(packet, name, value)
        if one.leaves is not None:
            event.flow_ids.append(self._flow(one.leaves))
        if one.arrives is not None:
            event.terminating_flow_ids.append(self._flow(one.arrives))
        self._event(track, one.end, TrackEvent.TYPE_SLICE_END)

    def _packet(self) -> Any:  # noqa: ANN401 (a TracePacket, which has no type)
        packet = self._builder.add_packet()
        packet.trusted_packet_sequence_id = _SEQUENCE
        packet.sequence_flags, self._flags = self._flags, TracePacket.SEQ_NEEDS_INCREMENTAL_STATE
        return packet

    def _event(self, track: int, nanoseconds: int, kind: int) -> Any:  # noqa: ANN401 (a TracePacket)
        packet = self._packet()
        packet.timestamp = nanoseconds
        packet.track_event.track_uuid, packet.track_event.type = track, kind
        return packet

    def _tell(self, packet: Any, name: str, value: int | str) -> None:  # noqa: ANN401 (a TracePacket)
        annotation = packet.track_event.debug_annotations.add()
        annotation.name_iid = self._number(packet, "debug_annotation_names", name)
        if isinstance(value, int):
            annotation.int_value = value
        else:
            annotation.string_value_iid = self._number(packet, "debug_annotation_string_values", value)

    def _number(self, packet: Any, kind: str, text: str) -> int:  # noqa: ANN401 (a TracePacket)
        """The number of a text; if it is the first with this text, the packet says so."""
        numbers = self._texts[kind]
        if text not in numbers:
            numbers[text] = len(numbers) + 1  # none is 0
            entry = getattr(packet.interned_data, kind).add()
            entry.iid = numbers[text]
            if kind == "debug_annotation_string_values":
                entry.str = text.encode()
            else:
                entry.name = text
        return numbers[text]

    def _flow(self, flow: Flow) -> int:
        return self._flows.setdefault(flow, len(self._flows) + 1)
