"""What a compiled XLA module costs: floating-point operations, memory traffic and buffers, from its HLO.

TensorFlow's wheel has no HloCostAnalysis to call from Python; the HloProto (what HLO text says) is all it takes.
"""

import math
from dataclasses import dataclass

from tensorflow.compiler.xla import xla_data_pb2
from tensorflow.compiler.xla.service import hlo_pb2

# Of one element; every other type that occurs has its bits in its name (F32, BF16, S64, …).
_BITS = {"PRED": 8, "TOKEN": 0, "OPAQUE_TYPE": 0}
_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "partition-id", "replica-id"}
# Operations that touch of their first operand only as much as they hand on.
_SLICING = {"slice", "dynamic-slice", "gather"}
# Products hidden in these would be missed, so that a module with one of them cannot be counted.
_UNCOUNTED = {"convolution", "custom-call", "fft", "cholesky", "triangular-solve"}


class UncountableError(ValueError):
    """The module holds something whose cost is not known."""


@dataclass(frozen=True)
class Cost:
    """Of one execution."""

    flops: float  # matrix products only, a multiply-add counted as 2
    bytes_accessed: float  # operands and results of every instruction after fusion

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.flops + other.flops, self.bytes_accessed + other.bytes_accessed)

    def times(self, count: int) -> "Cost":
        return Cost(self.flops * count, self.bytes_accessed * count)


@dataclass(frozen=True)
class Buffers:
    """Bytes of XLA's buffer assignment."""

    arguments: int  # variables and the batch; results that replace a variable lie in its place
    temporaries: int
    results: int

    @property
    def total(self) -> int:
        return self.arguments + self.temporaries + self.results


def buffers_of(hlo: hlo_pb2.HloProto) -> Buffers:
    arguments = temporaries = results = 0
    for buffer in hlo.buffer_assignment.buffer_allocations:
        if buffer.is_entry_computation_parameter:
            arguments += buffer.size
        elif buffer.maybe_live_out:
            results += buffer.size
        else:
            temporaries += buffer.size
    return Buffers(arguments, temporaries, results)


def cost_of(module: hlo_pb2.HloModuleProto) -> Cost:
    """Cost of the module's entry computation, with loops counted as often as they run.

    Raises:
      UncountableError: an operation or a loop whose cost is not known.
    """
    return _Counter(module).computation(module.entry_computation_id)


class _Counter:
    def __init__(self, module: hlo_pb2.HloModuleProto) -> None:
        self._computations = {computation.id: computation for computation in module.computations}
        # Ids are unique in a module.
        self._instructions = {i.id: i for computation in module.computations for i in computation.instructions}
        self._costs: dict[int, Cost] = {}

    def computation(self, number: int) -> Cost:
        if number not in self._costs:
            instructions = self._computations[number].instructions
            self._costs[number] = sum((self._instruction(i) for i in instructions), Cost(0.0, 0.0))
        return self._costs[number]

    def _instruction(self, instruction: hlo_pb2.HloInstructionProto) -> Cost:
        opcode = instruction.opcode
        if opcode in _UNCOUNTED:
            raise UncountableError(f"{instruction.name}: found {opcode}, expected products as dot")
        if opcode == "while":
            body, condition = instruction.called_computation_ids
            return self.computation(body).times(self._trip_count(instruction, condition))
        if opcode == "call":
            return self.computation(instruction.called_computation_ids[0])
        if opcode == "conditional":
            return max((self.computation(n) for n in instruction.called_computation_ids), key=lambda cost: cost.flops)
        if opcode == "fusion":
            flops = self.computation(instruction.called_computation_ids[0]).flops
            return Cost(flops, self._fusion_bytes(instruction.called_computation_ids[0]))
        if opcode in _FREE:
            return Cost(0.0, 0.0)
        flops = self._dot_flops(instruction) if opcode == "dot" else 0.0
        reads = [
            self._read_by(instruction, position, _size(self._instructions[operand].shape))
            for position, operand in enumerate(instruction.operand_ids)
        ]
        return Cost(flops, sum(reads) + self._written(instruction))

    def _dot_flops(self, dot: hlo_pb2.HloInstructionProto) -> float:
        left = self._instructions[dot.operand_ids[0]].shape.dimensions
        contracted = [left[i] for i in dot.dot_dimension_numbers.lhs_contracting_dimensions]
        return 2.0 * math.prod(dot.shape.dimensions) * math.prod(contracted)

    def _fusion_bytes(self, number: int) -> float:
        """What a fusion reads and writes: its inner results stay in registers."""
        computation = self._computations[number]
        total = self._written(self._instructions[computation.root_id])
        for parameter in (i for i in computation.instructions if i.opcode == "parameter"):
            size = _size(parameter.shape)
            reads = [
                self._read_by(user, position, size)
                for user in computation.instructions
                for position, operand in enumerate(user.operand_ids)
                if operand == parameter.id
            ]
            total += min(size, sum(reads))
        return total

    def _read_by(self, user: hlo_pb2.HloInstructionProto, position: int, size: float) -> float:
        if position == 0 and user.opcode in _SLICING:
            return _size(user.shape)
        in_place = position == 0 and user.opcode == "dynamic-update-slice"
        return 0.0 if in_place else size

    def _written(self, instruction: hlo_pb2.HloInstructionProto) -> float:
        if instruction.opcode == "dynamic-update-slice":
            return _size(self._instructions[instruction.operand_ids[1]].shape)
        if instruction.opcode == "tuple":
            return sum(self._written(self._instructions[operand]) for operand in instruction.operand_ids)
        return _size(instruction.shape)

    def _trip_count(self, loop: hlo_pb2.HloInstructionProto, condition: int) -> int:
        """Of a loop `for (i = start; i < end; i++)`: all that TensorFlow and XLA's CPU compiler make of a training
        step."""
        compare = self._instructions[self._computations[condition].root_id]
        operands = [self._instructions[operand] for operand in compare.operand_ids]
        if compare.comparison_direction == "LT" and operands[0].opcode == "get-tuple-element":
            carried = self._instructions[loop.operand_ids[0]]
            start = _whole_number(self._uncopied(carried.operand_ids[operands[0].tuple_index]))
            end = _whole_number(operands[1])
            if start is not None and end is not None:
                return max(0, end - start)
        raise UncountableError(f"{loop.name}: found a loop whose number of rounds is not known when it is compiled")

    def _uncopied(self, number: int) -> hlo_pb2.HloInstructionProto:
        instruction = self._instructions[number]
        while instruction.opcode in ("copy", "bitcast"):
            instruction = self._instructions[instruction.operand_ids[0]]
        return instruction


def _whole_number(instruction: hlo_pb2.HloInstructionProto) -> int | None:
    literal = instruction.literal
    if instruction.opcode != "constant" or not (literal.s32s or literal.s64s):
        return None
    return int((literal.s32s or literal.s64s)[0])


def _size(shape: xla_data_pb2.ShapeProto) -> float:
    """Bytes of an array, or of all of a tuple's."""
    kind = xla_data_pb2.PrimitiveType.Name(shape.element_type)
    if kind == "TUPLE":
        return sum(_size(part) for part in shape.tuple_shapes)
    bits = _BITS[kind] if kind in _BITS else int("".join(filter(str.isdigit, kind)))
    return math.prod(shape.dimensions) * bits / 8
