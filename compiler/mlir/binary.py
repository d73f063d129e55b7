"""What XLA makes of a lowered function: compiled once, kept in jax's persistent cache, loaded for several islands.

A door to private names of jax, as `bindings.py` is one. Importing this file does not import jax.
"""

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

_CACHE = "/jax/compilation_cache"  # what jax calls events of its cache


@dataclass(frozen=True)
class Binary:
    """A lowered function that XLA compiles once, and that is loaded for its own devices and for others like them.

    lowered: a `jax.stages.Lowered` whose arguments and results all have shardings.

    XLA can write down only what it has compiled itself: of what it has loaded, the code is lost. So jax's persistent
    cache is asked here, where it is known which of the two an executable is. And it is asked for the first devices of
    the process, whichever are meant: jax's own keys on CPUs differ from device to device.
    """

    lowered: Any

    @classmethod
    def can_be_made(cls, lowered: Any) -> bool:  # noqa: ANN401 (a `jax.stages.Lowered`)
        """Whether it is for devices of this process alone, and holds no addresses, as calls of the host do."""
        import jax

        return not lowered._lowering.compile_args["host_callbacks"] and jax.process_count() == 1

    @property
    def is_shared(self) -> bool:
        """Whether what is compiled for some devices is loaded for others like them. Not tried but on CPUs: jax's own
        cache takes GPUs for one another, and does not take TPUs so."""
        return bool(self._given["backend"].platform == "cpu")

    def loaded(self, content: bytes, islands: Sequence[Sequence[Any]]) -> list[Any]:
        """A `jax.stages.Compiled` for the devices of each of these, of what `serialized` gave for devices like them.

        An error of XLA's if it is nothing that it can load.
        """
        backend = self._given["backend"]
        made = [
            backend.deserialize_executable(content, _device_list(devices), self._options(devices))
            for devices in islands
        ]
        return [self._compiled(executable, devices) for executable, devices in zip(made, islands, strict=True)]

    def serialized(self) -> bytes:
        """Compiled anew for its own devices, as bytes: of what was loaded from somewhere, the code is lost."""
        from jax._src import compiler

        module, devices = self.lowered._lowering.stablehlo(), self.devices
        made = compiler.backend_compile_and_load(
            self._given["backend"], module, _device_list(devices), self._options(devices), []
        )
        content: bytes = made.serialize()
        return content

    def load(self, islands: Sequence[Sequence[Any]], parts: int = 1) -> list[Any]:
        """A `jax.stages.Compiled` for the devices of each of these; the first are those that it was lowered for.

        parts: of how many such the program is made. All together have to take as long as a user asks of what is kept.
        """
        from jax._src import dispatch

        key = self._key()
        # Told of as jax tells of what it compiles, whether it is found or made.
        with dispatch.log_elapsed_time(
            "Finished XLA compilation of {fun_name} in {elapsed_time:.9f} sec",
            fun_name=self.lowered._lowering._name,
            event=dispatch.BACKEND_COMPILE_EVENT,
        ):
            found = [] if key is None else self._cached(key, islands)
            found = found or self._made(key, islands, parts)
        return [self._compiled(executable, devices) for executable, devices in zip(found, islands, strict=True)]

    @property
    def devices(self) -> tuple[Any, ...]:
        """Those that it was lowered for."""
        return tuple(self.lowered._lowering._device_list)

    @property
    def _given(self) -> Mapping[str, Any]:
        given: Mapping[str, Any] = self.lowered._lowering.compile_args
        return given

    def _key(self) -> str | None:
        """By what the persistent cache knows it, in this process or in another one; None if there is no such cache."""
        import numpy
        from jax._src import compilation_cache

        backend, computation = self._given["backend"], self.lowered._lowering
        if not (compilation_cache.is_persistent_cache_enabled() and compilation_cache.is_cache_used(backend)):
            return None
        count = len(self.devices)
        devices = numpy.array(backend.local_devices()[:count], dtype=object)
        key: str = compilation_cache.get_cache_key(
            computation.stablehlo(), devices, self._options(range(count)), backend
        )
        return key

    def _cached(self, key: str, islands: Sequence[Sequence[Any]]) -> list[Any]:
        """What the persistent cache has, loaded for each; nothing if it cannot be had for all."""
        import jax
        from jax._src import compilation_cache

        jax.monitoring.record_event(f"{_CACHE}/compile_requests_use_cache")
        found: list[Any] = []
        with _warning_of_the_cache("read"):
            for devices in islands:
                executable, _ = compilation_cache.get_executable_and_time(
                    key, self._options(devices), self._given["backend"], _device_list(devices)
                )
                if executable is None:
                    return []
                found.append(executable)
        if len(found) < len(islands):
            return []
        jax.monitoring.record_event(f"{_CACHE}/cache_hits")
        return found

    def _made(self, key: str | None, islands: Sequence[Sequence[Any]], parts: int) -> list[Any]:
        """Compiled for the first, and loaded for the others."""
        import jax
        from jax._src import compilation_cache, compiler

        backend, computation = self._given["backend"], self.lowered._lowering
        module = computation.stablehlo()
        first, *others = islands
        began = time.monotonic()
        made = compiler.backend_compile_and_load(backend, module, _device_list(first), self._options(first), [])
        seconds = time.monotonic() - began
        if key is not None and seconds * parts >= jax.config.values["jax_persistent_cache_min_compile_time_secs"]:
            with _warning_of_the_cache("written"):
                compilation_cache.put_executable_and_time(key, computation._name, made, backend, int(seconds))
        content = made.serialize() if others else b""
        loaded = [
            backend.deserialize_executable(content, _device_list(devices), self._options(devices)) for devices in others
        ]
        return [made, *loaded]

    def _options(self, devices: Sequence[Any]) -> Any:  # noqa: ANN401 (`CompileOptions` of jaxlib's)
        """With which jax would compile it for these devices, or for those that have these numbers."""
        import numpy
        from jax._src.interpreters import pxla

        given, make, propagated = self._given, pxla.create_compile_options, pxla.get_prop_to_input_output
        to_inputs, to_outputs = propagated(given["in_shardings"], given["out_shardings"], 0)  # type: ignore[no-untyped-call] # jax's
        return make(  # type: ignore[no-untyped-call] # jax's
            self.lowered._lowering.stablehlo(),
            given["tuple_args"],
            to_inputs,
            to_outputs,
            given["backend"],
            numpy.array(devices),
            {},
        )

    def _compiled(self, executable: Any, devices: Sequence[Any]) -> Any:  # noqa: ANN401 (as `load` has them)
        """As jax itself puts an executable into a `jax.stages.Compiled`."""
        import jax
        from jax._src.interpreters import pxla

        lowered, computation, given = self.lowered, self.lowered._lowering, self._given
        there = dict(zip(self.devices, devices, strict=True))
        inputs, outputs = given["global_in_avals"], given["global_out_avals"]
        in_shardings = [_moved(one, there) for one in given["in_shardings"]]
        out_shardings = [_moved(one, there) for one in given["out_shardings"]]
        in_layouts, out_layouts = pxla._get_layouts_from_executable(
            executable, given["in_layouts"], given["out_layouts"], 0, inputs, outputs
        )
        dispatched = pxla.get_dispatch_layouts(in_layouts, in_shardings, inputs)  # type: ignore[no-untyped-call] # jax's
        same = {field.name for field in fields(pxla.UnloadedMeshExecutable)} & given.keys()
        unloaded = pxla.UnloadedMeshExecutable(
            xla_executable=executable,
            device_list=_device_list(devices),
            name=computation._name,
            input_avals=inputs,
            input_shardings=in_shardings,
            output_avals=outputs,
            output_shardings=out_shardings,
            xla_in_layouts=in_layouts,
            dispatch_in_layouts=dispatched,
            xla_out_layouts=out_layouts,
            **{name: given[name] for name in same},
        )
        return jax.stages.Compiled(
            unloaded.load(), computation.const_args, lowered.args_info, lowered.out_tree, lowered._no_kwargs
        )


def _device_list(devices: Sequence[Any]) -> Any:  # noqa: ANN401 (jaxlib's)
    from jaxlib import xla_client

    return xla_client.DeviceList(tuple(devices))


def _moved(sharding: Any, there: Mapping[Any, Any]) -> Any:  # noqa: ANN401 (a `NamedSharding`)
    """A sharding over other devices. there: what stands for each device of its own."""
    import jax
    import numpy

    mesh = sharding.mesh
    devices = numpy.array([there[one] for one in mesh.devices.flat]).reshape(mesh.devices.shape)
    return sharding.update(mesh=jax.sharding.Mesh(devices, mesh.axis_names, axis_types=mesh.axis_types))


@contextmanager
def _warning_of_the_cache(done: str) -> Iterator[None]:
    """A cache that does not work costs time, and nothing else; unless jax is told to make an error of it."""
    import jax

    try:
        yield
    except Exception as error:
        if jax.config.values["jax_raise_persistent_cache_errors"]:
            raise
        warnings.warn(f"the persistent compilation cache cannot be {done}: {error}", stacklevel=2)


def serialized_ahead(compiled: Any) -> bytes:  # noqa: ANN401 (a `jax.stages.Compiled`)
    """The same of what was compiled for devices that are not here."""
    content: bytes = compiled._executable.xla_executable.serialize()
    return content
