"""Loads the arguments of a step on an island: what is in its store, and what another island has sent."""

import jax
from atoll.runtime.failure import Failure
from atoll.runtime.frame import Frame
from atoll.runtime.messages import Offer, Stored, Use
from atoll.runtime.site import Site
from atoll.runtime.store import GONE
from atoll.runtime.transport import Transport


def load_stored(frame: Frame, number: int, stored: Stored, site: Site, transport: Transport) -> None:
    """Load what the island has in its store: as it is, a copy of it, or divided as the step needs it."""
    handle, use = stored
    store = site.store
    value = store.look(handle)
    if value is None:
        value = GONE
    as_it_is = isinstance(value, Failure) or value.sharding == transport.sharding(site.name, number)
    if as_it_is and use is Use.TAKE:
        frame.take(number, handle)
        return
    if as_it_is and use is Use.BORROW:
        frame.borrow(number, value, handle)
        return
    if use is Use.TAKE:
        store.take(handle)  # first, or its bytes would count twice for a moment, and so in the peak
    try:
        if not as_it_is:
            with site.turn:
                value = transport.bring(value, site.name, number)
        elif not isinstance(value, Failure):
            with site.turn:
                value = jax.numpy.copy(value)
        frame.set(number, value)
    finally:
        if use is not Use.TAKE:
            store.drop(handle)


def load_sent(frame: Frame, number: int, offer: Offer, size: int, *, traced: bool) -> None:
    """Load what has been sent, of so many bytes: by another island, or by the island's own feeding."""
    value = offer.take()
    if offer.owned:
        frame.set(number, value)
    else:
        frame.borrow(number, value, None)
    here = frame.record.island
    if offer.source == here:
        return
    if not isinstance(value, Failure):
        frame.record.count((offer.source, here), size)
    if traced:
        frame.fetched.append((offer.source, number, offer.sent))
