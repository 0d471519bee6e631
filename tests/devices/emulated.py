"""A device that computes on the CPU and is as strict as a GPU: it meets no CPU tensor and takes no CPU generator.

PyTorch's private-use device under the name ``emulated``. Its tensors are plain ``torch.Tensor`` whose memory is the
host's. Each operation that reaches the device is done by the CPU's kernel on the same memory, after a look at what it
was given. Autograd, ``torch.func``, optimisers, autocast and views are PyTorch's own.

What a GPU forgives is forgiven: scalars and indices on the CPU, copies. :data:`DEVICE` counts how often somebody seeded
its generator, and raises under ``set_sync_debug_mode("error")`` where the host would wait.
"""

import contextlib
import ctypes

import emulated_autocast
import torch

NAME = "emulated"
ON_CPU, ON_DEVICE = 1, 12
"""Device types of DLPack: kDLCPU, kDLExtDev."""
aten = torch.ops.aten

COPIES = {"copy_", "_to_copy", "_copy_from"}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
"""A GPU takes the indices of these from the CPU."""
WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_consecutive", "equal", "bincount"}
"""The host waits for the results of these, or for their shapes."""


class DLTensor(ctypes.Structure):
    """The head of a DLPack capsule's content."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("dtype", ctypes.c_uint8 * 4),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


_content = ctypes.pythonapi.PyCapsule_GetPointer
_content.restype, _content.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


def _alias(tensor, device_type):
    """The same memory as a tensor of another device."""
    if tensor.is_conj() or tensor.is_neg():
        tensor = tensor.resolve_conj().resolve_neg()
    capsule = torch._C._to_dlpack(tensor)
    content = DLTensor.from_address(_content(capsule, b"dltensor"))
    content.device_type, content.device_id = device_type, 0
    for axis, stride in enumerate(tensor.stride()):
        content.strides[axis] = stride  # DLPack makes those of axes of length 1 to 1
    return torch._C._from_dlpack(capsule)


def _leaves(values):
    """What is in tuples, lists and dicts, however deep. PyTorch's own walk knows more kinds and takes twice as long."""
    for value in values:
        if isinstance(value, tuple | list):
            yield from _leaves(value)
        elif isinstance(value, dict):
            yield from _leaves(value.values())
        else:
            yield value


def _mapped(function, value):
    """``value`` with each tensor in its tuples, lists and dicts replaced by ``function`` of it."""
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, tuple | list):
        return type(value)(_mapped(function, part) for part in value)
    if isinstance(value, dict):
        return {name: _mapped(function, part) for name, part in value.items()}
    return value


def _is_here(value):
    return isinstance(value, torch.Tensor) and value.device.type == NAME


class Device:
    """What ``torch.cuda`` is to a GPU."""

    def __init__(self):
        self.reset()

    def reset(self):
        """Forget all that has been done."""
        self.draws = torch.Generator().manual_seed(1)
        self.seeded = 0
        """How often somebody has seeded the device's generator."""
        self.sync = "default"
        self.free = self.total = 1 << 34
        self.there = False
        """Whether PyTorch takes it for the accelerator of this machine: only if a test says so."""

    def is_available(self):
        return self.there

    def is_initialized(self):
        return True

    def device_count(self):
        return 1

    def current_device(self):
        return 0

    def get_device_name(self, device=None):
        return "an emulated device"

    def synchronize(self, device=None):
        pass

    def empty_cache(self):
        pass

    def _is_in_bad_fork(self):
        return False

    def manual_seed(self, seed):
        self.seeded += 1
        self.draws.manual_seed(seed)

    manual_seed_all = manual_seed

    def get_rng_state(self, device=NAME):
        return self.draws.get_state()

    def set_rng_state(self, state, device=NAME):
        self.draws.set_state(state)

    def get_amp_supported_dtype(self):
        return [torch.bfloat16, torch.float16]

    def is_bf16_supported(self, including_emulation=True):
        return True

    def set_sync_debug_mode(self, mode):
        self.sync = mode

    def get_sync_debug_mode(self):
        return {"default": 0, "warn": 1, "error": 2}[self.sync]

    def mem_get_info(self, device=None):
        return self.free, self.total

    def memory_allocated(self, device=None):
        return 0

    def max_memory_allocated(self, device=None):
        return 1 << 20

    def reset_peak_memory_stats(self, device=None):
        pass

    @contextlib.contextmanager
    def device(self, device):
        yield

    @contextlib.contextmanager
    def drawing(self):
        """Make the CPU's generator the device's within the block."""
        before = torch.get_rng_state()
        torch.set_rng_state(self.draws.get_state())
        try:
            yield
        finally:
            self.draws.set_state(torch.get_rng_state())
            torch.set_rng_state(before)


DEVICE = Device()


def _refuse(op, args, kwargs):
    """Raise where a GPU would."""
    name = op.overloadpacket.__name__
    if any(isinstance(value, torch.Generator) for value in _leaves((args, kwargs))):
        raise RuntimeError(f"Expected a {NAME!r} device type for generator but found 'cpu' ({name})")
    waits = name in WAITS or (
        name in INDEXING and any(_is_here(i) and i.dtype == torch.bool for i in _leaves(args[1:2]))
    )
    if DEVICE.sync == "error" and waits:
        raise RuntimeError(f"called a synchronizing operation ({name})")
    if name in COPIES:
        return
    looked_at = args[:1] + args[2:] if name in INDEXING else args

    def foreign(value):
        return isinstance(value, torch.Tensor) and value.device.type != NAME and not _forgiven(value, op)

    if any(map(foreign, _leaves((looked_at, kwargs)))):
        raise RuntimeError(f"Expected all tensors to be on the same device, but found {NAME}:0 and cpu ({name})")


def _forgiven(value, op):
    name = op.overloadpacket.__name__
    return value.dim() == 0 and (torch.Tag.pointwise in op.tags or name in INDEXING or name.startswith("masked_fill"))


def _computed(op, *args, **kwargs):
    """Do ``op`` on the CPU, with results on the device; what it writes to is written in place."""
    _refuse(op, args, kwargs)
    wanted = kwargs.get("device")
    here = wanted is None or torch.device(wanted).type == NAME
    if wanted is not None:
        kwargs["device"] = torch.device("cpu")
    given, outs = {}, {argument.name for argument in op._schema.arguments if argument.is_out}
    read = {id(leaf) for leaf in _leaves((args, {name: v for name, v in kwargs.items() if name not in outs}))}
    empty = {id(v) for name, v in kwargs.items() if name in outs and v.dim() == 0} - read

    def lent(tensor):
        if not _is_here(tensor):
            return tensor
        if id(tensor) not in given:
            own = _alias(tensor, ON_CPU)
            if tensor.numel() == 0 or id(tensor) in empty:  # and may be given the shape of the result
                own = torch.empty(0 if tensor.numel() else tensor.shape, dtype=tensor.dtype)
            given[id(tensor)] = tensor, own
        return given[id(tensor)][1]

    args, kwargs = _mapped(lent, (args, kwargs))
    with DEVICE.drawing() if torch.Tag.nondeterministic_seeded in op.tags else contextlib.nullcontext():
        result = op(*args, **kwargs)
    for tensor, own in given.values():
        if tensor.shape != own.shape or tensor.stride() != own.stride() or id(tensor) in empty:
            tensor.data = _alias(own, ON_DEVICE)
    owners = {id(own): tensor for tensor, own in given.values()}

    def returned(tensor):
        return owners[id(tensor)] if id(tensor) in owners else _alias(tensor, ON_DEVICE) if here else tensor

    if torch.is_inference_mode_enabled() and op.is_view and not any(t.is_inference() for t, _ in given.values()):
        with torch.inference_mode(False):  # a view of a tensor from outside of it is from outside, too
            return _mapped(returned, result)
    return _mapped(returned, result)


def _copied(source, target, non_blocking=False):
    """``target``, filled from ``source``; either may be on the CPU."""
    if DEVICE.sync == "error" and not non_blocking and source.device != target.device:
        raise RuntimeError("called a synchronizing operation (a copy between host and device)")
    on_cpu = [_alias(tensor, ON_CPU) if _is_here(tensor) else tensor for tensor in (source, target)]
    on_cpu[1].copy_(on_cpu[0])
    return target


def _resized(tensor, size, memory_format=None):
    """``tensor.resize_(size)``."""
    fresh = torch.empty(size, dtype=tensor.dtype)
    kept = min(fresh.numel(), tensor.numel())
    fresh.flatten()[:kept].copy_(_alias(tensor, ON_CPU).flatten()[:kept])
    tensor.data = _alias(fresh, ON_DEVICE)
    return tensor


def _convolution(*args):
    return _computed(aten.convolution.default, *args)


def _convolution_backward(grad, x, weight, stride, padding, dilation, transposed, output_padding, groups, mask):
    channels = weight.shape[1] * groups if transposed else weight.shape[0]
    rest = [channels], stride, padding, dilation, transposed, output_padding, groups, mask
    return _computed(aten.convolution_backward.default, grad, x, weight, *rest)


_deepcopy_elsewhere = torch.Tensor.__deepcopy__


def _deepcopy(tensor, memo):
    """``copy.deepcopy``, which would ask the device's allocator, in C++, for memory: there is none."""
    if not _is_here(tensor) or type(tensor) is not torch.Tensor or not tensor.is_leaf:
        return _deepcopy_elsewhere(tensor, memo)
    if id(tensor) not in memo:
        memo[id(tensor)] = tensor.detach().clone().requires_grad_(tensor.requires_grad)
    return memo[id(tensor)]


_libraries = []


def install():
    """Make the device known under its name in this process from now on, and return it.

    :raises ImportError: if PyTorch is older than Python backends of its private-use device.
    """
    if _libraries:
        return DEVICE
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    class Hook(torch._C._acc.PrivateUse1Hooks):
        def is_built(self):
            return True

        def is_available(self):
            return DEVICE.there

        def has_primary_context(self, index):
            return True

    _setup_privateuseone_for_python_backend(NAME, DEVICE, Hook())
    everywhere, own = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    everywhere.fallback(_computed, "PrivateUse1")
    own.impl("_copy_from", _copied, "PrivateUse1")
    own.impl("resize_", _resized, "PrivateUse1")
    own.impl("convolution_overrideable", _convolution, "PrivateUse1")
    own.impl("convolution_backward_overrideable", _convolution_backward, "PrivateUse1")
    everywhere.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    for name, kernel in emulated_autocast.kernels():
        own.impl(name, kernel, "AutocastPrivateUse1")
    torch.Tensor.__deepcopy__ = _deepcopy
    _libraries.extend((everywhere, own))
    return DEVICE
