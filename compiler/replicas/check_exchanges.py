"""Checks that replicas exchange what they have to, each sum over the batch that is used, once; and that shares fit."""

from collections.abc import Collection, Mapping, Sequence

from atoll.compiler.batch_rules.states import COMBINE
from atoll.compiler.mlir.attributes import text_attribute
from atoll.compiler.mlir.bindings import func, ir, mpmd
from atoll.compiler.mlir.diagnostics import refuse
from atoll.compiler.mlir.functions import (
    argument_attributes,
    arguments_of,
    body_of,
    functions_in,
    operands_within,
    operations_in,
    result_attributes,
)
from atoll.compiler.module.graph import parts_of_loop
from atoll.compiler.module.interface import share_of
from atoll.compiler.module.marks import EXCHANGE, SHARE
from atoll.compiler.module.mesh_types import island_of, local_type
from atoll.compiler.module.planned import topology_of
from atoll.compiler.module.replicas import check_replicas, replicas_of
from atoll.compiler.module.tasks import (
    GATHER,
    OWN_SHARE,
    ExchangeOp,
    code_name,
    dataflow_functions,
    exchange_kind,
    exchange_share,
    exchanges_in,
    is_exchange,
)
from atoll.compiler.replicas.own_sums import LINEAR


def check_exchanges(module: ir.Module) -> None:
    """Refuse a sum of one replica that is used as if it were that of all, and an exchange of anything else.

    As people edit dumps, a plan whose replicas do not fit the islands is refused too.
    """
    replicas, functions = replicas_of(module), dataflow_functions(module)
    if replicas > 1:
        check_replicas(replicas, topology_of(module))
    _check_exchanges(module, functions, replicas)


def _check_exchanges(module: ir.Module, functions: Mapping[str, func.FuncOp], replicas: int) -> None:
    """functions: `@main`, and those of a microbatch."""
    main = functions["main"]
    sums = _sums(main) if replicas > 1 else {}
    shares: dict[ir.Value[ir.Type], int] = {
        argument: dimension
        for argument, marks in zip(arguments_of(main), argument_attributes(main), strict=True)
        if (dimension := share_of(marks)) is not None
    }
    for name, function in functions.items():
        for exchange in exchanges_in(function):
            _check_kind(exchange)
            if replicas == 1 or name != "main":
                what = "there is but one replica" if replicas == 1 else "replicas exchange in a loop"
                raise refuse(exchange.location, what, f"take the exchange out of @{name}")
            _check_operand(exchange, sums, shares)
            _check_types(exchange, replicas)
            dimension = exchange_share(exchange)
            if dimension is not None and exchange_kind(exchange) != GATHER:
                shares[exchange.operation.results[0]] = dimension
    _check_sums(module, main, sums)
    _check_results(main, shares)


def _check_kind(exchange: ExchangeOp) -> None:
    """An exchange says how replicas combine what they have, or that shares are taken or gathered, and which."""
    attributes = exchange.operation.attributes
    kind, is_shared = text_attribute(attributes, EXCHANGE), SHARE in attributes
    if kind not in (*COMBINE, OWN_SHARE, GATHER):
        remedy = f"write one of {', '.join((*COMBINE, OWN_SHARE, GATHER))}"
        raise refuse(exchange.location, f"{EXCHANGE} is {attributes[EXCHANGE]}", remedy)
    if not is_shared and kind not in COMBINE:
        raise refuse(exchange.location, f'{EXCHANGE} is "{kind}" without {SHARE}', f"write {SHARE} = DIMENSION : i32")
    if is_shared and not isinstance(attributes[SHARE], ir.IntegerAttr):
        raise refuse(exchange.location, f"{SHARE} is {attributes[SHARE]}", f"write {SHARE} = DIMENSION : i32")


def _check_operand(
    exchange: ExchangeOp, sums: Mapping["ir.Value[ir.Type]", object], shares: Mapping["ir.Value[ir.Type]", int]
) -> None:
    """What replicas combine has to differ between them; what they take shares of, each has whole; and of what is
    gathered, each has a share."""
    operands, kind = list(exchange.operation.operands), exchange_kind(exchange)
    if len(operands) != 1 or len(exchange.operation.results) != 1:
        what = f"an exchange has {len(operands)} operands and {len(exchange.operation.results)} results"
        raise refuse(exchange.location, what, "write one of each")
    (source,), remedy = operands, "take the exchange out of @main"
    is_made = isinstance(source.owner, (mpmd.FragmentOp, mpmd.FragmentCallOp))
    if kind in COMBINE and source not in sums and not is_made:
        raise refuse(exchange.location, "an exchange takes what is no sum of a loop, nor made by a task", remedy)
    if kind == OWN_SHARE and (source in sums or source in shares):
        what = "a sum of one replica" if source in sums else "a share already"
        raise refuse(exchange.location, f"a share is taken of what is {what}", "take it of what all replicas have")
    if kind == GATHER and shares.get(source, exchange_share(exchange)) != exchange_share(exchange):
        what = f"shares along dimension {shares[source]} are joined along dimension {exchange_share(exchange)}"
        raise refuse(exchange.location, what, f"write {SHARE} = {shares[source]} : i32")


def _check_types(exchange: ExchangeOp, replicas: int) -> None:
    """A value stays on its island; each replica's share is one R-th of the whole, for R replicas."""
    source, made = exchange.operation.operands[0].type, exchange.operation.results[0].type
    dimension = exchange_share(exchange)
    if dimension is None:
        if source != made:
            what = f"an exchange makes {made} of {source}"
            raise refuse(exchange.location, what, "let it stay where it is, as it is")
        return
    share, whole = (source, made) if exchange_kind(exchange) == GATHER else (made, source)
    tensor = ir.RankedTensorType(local_type(share))
    if not 0 <= dimension < tensor.rank:
        what = f"shares along dimension {dimension} are {tensor}"
        raise refuse(exchange.location, what, "name a dimension that they have")
    shape = list(tensor.shape)
    shape[dimension] *= replicas
    found = ir.RankedTensorType(local_type(whole))
    if (list(found.shape), found.element_type) != (shape, tensor.element_type):
        what = f"{replicas} shares along dimension {dimension}, each {tensor}, are not {found}"
        raise refuse(exchange.location, what, f"let a share be 1/{replicas} of the whole")
    if island_of(share) != island_of(whole):
        what = f"an exchange makes {made} of {source}"
        raise refuse(exchange.location, what, "let it stay where it is")


def _check_results(main: func.FuncOp, shares: Mapping["ir.Value[ir.Type]", int]) -> None:
    """A value that is known to be a share has to be returned as one."""
    *_, returning = body_of(main).operations
    for number, (value, marks) in enumerate(zip(returning.operation.operands, result_attributes(main), strict=True)):
        if value in shares and share_of(marks) != shares[value]:
            what = f"result {number} of @main is a share along dimension {shares[value]}, and is not marked as one"
            raise refuse(main.location, what, f"add {SHARE} = {shares[value]} : i32 to it, or return the whole")


def _check_sums(
    module: ir.Module, main: func.FuncOp, sums: Mapping["ir.Value[ir.Type]", tuple[mpmd.ForOp, int]]
) -> None:
    """Refuse a sum of one replica that anything takes but an exchange, or what adds it to others that are exchanged."""
    own, code = dict(sums), functions_in(module)
    for operation in body_of(main).operations:
        taken = [value for value in operation.operation.operands if value in own]
        if not taken:
            continue
        loop, number = own[taken[0]]
        made = _made_of_sums(operation, own, code)
        if made is None or any(len(list(value.uses)) > 1 for value in taken):
            what = f"result {number} of a loop is a sum of one replica, and {operation.operation.name} takes it"
            remedy = f"let one mpmd.transfer with {EXCHANGE} take it, and all else take what that makes"
            raise refuse(loop.location, what, remedy)
        own.update(dict.fromkeys((operation.operation.results[index] for index in made), (loop, number)))


def _made_of_sums(
    operation: ir.OpView, own: Collection["ir.Value[ir.Type]"], code: Mapping[str, func.FuncOp]
) -> Sequence[int] | None:
    """Which results of an operation are sums of one replica again; None if it may not take one."""
    if is_exchange(operation):
        # What is made of several sums is a sum.
        (source,) = operation.operation.operands
        kinds = COMBINE if isinstance(source.owner, mpmd.ForOp) else ("add",)
        return [] if exchange_kind(operation) in kinds else None
    if isinstance(operation, mpmd.TransferOp):
        return [0]
    if isinstance(operation, mpmd.FragmentOp):
        block = operation.operation.regions[0].blocks[0]
    elif isinstance(operation, mpmd.FragmentCallOp):
        block = body_of(code[code_name(operation)])
    else:
        return None
    given = zip(block.arguments, operation.operation.operands, strict=True)
    inside: set[ir.Value[ir.Type]] = {argument for argument, value in given if value in own}
    *body, end = block.operations
    for one in body:
        taken = operands_within(one)
        if not inside.isdisjoint(taken):
            if one.operation.name not in LINEAR or not inside.issuperset(taken):
                return None
            inside.update(one.operation.results)
    return [index for index, value in enumerate(end.operation.operands) if value in inside]


def _sums(main: func.FuncOp) -> dict["ir.Value[ir.Type]", tuple[mpmd.ForOp, int]]:
    """The results that the loops sum up: each with its loop, and its number among the loop's results."""
    return {
        result: (loop, number)
        for loop in operations_in(main, mpmd.ForOp)
        for number, result in enumerate(loop.operation.results)
        if number not in parts_of_loop(loop)
    }
