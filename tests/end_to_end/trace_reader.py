"""Reads a trace file into tracks and their slices, as a viewer does."""

from collections import Counter
from typing import NamedTuple

from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TracePacket, TrackEvent


class Found(NamedTuple):
    """A slice; times in nanoseconds. leaving, arriving: the flows that begin and end here."""

    track: tuple[str, ...]
    name: str
    category: str
    start: int
    end: int
    args: dict
    leaving: tuple[int, ...]
    arriving: tuple[int, ...]


def read_trace(path):
    """For each track its slices: `("island0", "tasks")` is the track `tasks` of the track `island0`.

    Tracks of one name and one parent are lanes of one track, and their slices are shown together. On a lane slices do
    not overlap.
    """
    packets = Trace.FromString(path.read_bytes()).packet
    names = names_of_tracks(packets)
    tracks = {name: [] for name in names.values()}
    texts, open_slices = {}, {}
    assert packets[0].sequence_flags == TracePacket.SEQ_INCREMENTAL_STATE_CLEARED
    for packet in packets:
        assert packet.trusted_packet_sequence_id == 1
        for field, entries in packet.interned_data.ListFields():
            texts.update(
                ((field.name, one.iid), one.str.decode() if hasattr(one, "str") else one.name) for one in entries
            )
        if not packet.HasField("track_event"):
            continue
        event = packet.track_event
        if event.type == TrackEvent.TYPE_SLICE_BEGIN:
            assert event.track_uuid not in open_slices, "slices of a lane follow one another"
            open_slices[event.track_uuid] = packet
        else:
            assert event.type == TrackEvent.TYPE_SLICE_END
            begun = open_slices.pop(event.track_uuid)
            track = names[event.track_uuid]
            tracks[track].append(found(track, begun.track_event, begun.timestamp, packet.timestamp, texts))
    assert not open_slices
    return {track: sorted(its, key=lambda one: one.start) for track, its in tracks.items()}


def names_of_tracks(packets):
    """For each number of a track its name, behind those of its parents; the root, which has no name, is left out."""
    described = {one.track_descriptor.uuid: one.track_descriptor for one in packets if one.HasField("track_descriptor")}

    def name(uuid):
        return () if uuid == 0 else (*name(described[uuid].parent_uuid), described[uuid].name)

    return {uuid: name(uuid) for uuid in described if uuid}


def found(track, event, start, end, texts):
    (category,) = (texts["event_categories", one] for one in event.category_iids)
    args = {texts["debug_annotation_names", one.name_iid]: value_of(one, texts) for one in event.debug_annotations}
    flows = tuple(event.flow_ids), tuple(event.terminating_flow_ids)
    assert start <= end
    return Found(track, texts["event_names", event.name_iid], category, start, end, args, *flows)


def value_of(annotation, texts):
    kind = annotation.WhichOneof("value")
    if kind == "string_value_iid":
        return texts["debug_annotation_string_values", annotation.string_value_iid]
    assert kind == "int_value"
    return annotation.int_value


def read_slices(path):
    """The slices of all tracks."""
    return [one for its in read_trace(path).values() for one in its]


def arrows(slices):
    """For each flow where it begins and where it ends."""
    ends = (
        Counter(flow for one in slices for flow in one.leaving),
        Counter(flow for one in slices for flow in one.arriving),
    )
    assert ends[0] == ends[1]
    assert set(ends[0].values()) <= {1}
    begins = {flow: one for one in slices for flow in one.leaving}
    return [(begins[flow], one) for one in slices for flow in one.arriving]
