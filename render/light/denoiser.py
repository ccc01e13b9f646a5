"""Intel's Open Image Denoise through its C API: Blender's own library, on one thread.

Called from Cycles, it would always see the whole frame with colours and start its own threads.
"""

import ctypes
import functools
from ctypes import c_bool, c_char_p, c_int, c_size_t, c_void_p

import numpy as np

from vosforge.errors import VOSForgeError

LIBRARY = "libOpenImageDenoise.so.2"
_CPU, _FLOAT3 = 1, 3
_QUALITY = {"fast": 4, "high": 6}
_NO_STRIDES = (c_size_t(0),) * 3

_SIGNATURES = {
    "oidnNewDevice": (c_void_p, [c_int]),
    "oidnSetDeviceInt": (None, [c_void_p, c_char_p, c_int]),
    "oidnSetDeviceBool": (None, [c_void_p, c_char_p, c_bool]),
    "oidnCommitDevice": (None, [c_void_p]),
    "oidnGetDeviceError": (c_int, [c_void_p, ctypes.POINTER(c_char_p)]),
    "oidnNewFilter": (c_void_p, [c_void_p, c_char_p]),
    "oidnSetSharedFilterImage": (None, [c_void_p, c_char_p, c_void_p, c_int, *[c_size_t] * 5]),
    "oidnSetFilterBool": (None, [c_void_p, c_char_p, c_bool]),
    "oidnSetFilterInt": (None, [c_void_p, c_char_p, c_int]),
    "oidnCommitFilter": (None, [c_void_p]),
    "oidnExecuteFilter": (None, [c_void_p]),
    "oidnReleaseFilter": (None, [c_void_p]),
}


def denoise(light: np.ndarray, quality: str) -> np.ndarray:
    """Denoise HDR light, float32 ``[H, W, 3]``; ``quality``: "fast" or "high".

    Import bpy first. Raises VOSForgeError if the library is missing or fails.
    """
    library, device = _device()
    noisy = np.ascontiguousarray(light, np.float32)
    clean = np.empty_like(noisy)
    height, width = noisy.shape[:2]
    held = library.oidnNewFilter(device, b"RT")
    for name, pixels in ((b"color", noisy), (b"output", clean)):
        library.oidnSetSharedFilterImage(held, name, pixels.ctypes.data, _FLOAT3, width, height, *_NO_STRIDES)
    library.oidnSetFilterBool(held, b"hdr", True)
    library.oidnSetFilterInt(held, b"quality", _QUALITY[quality])
    library.oidnCommitFilter(held)
    library.oidnExecuteFilter(held)
    library.oidnReleaseFilter(held)
    message = c_char_p()
    if library.oidnGetDeviceError(device, ctypes.byref(message)):
        raise VOSForgeError(f"Intel's denoiser failed: {(message.value or b'').decode()}")
    return clean


@functools.cache
def _device() -> tuple[ctypes.CDLL, c_void_p]:
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise VOSForgeError(f"this Blender lacks Intel's denoiser ({error}): set render.denoise_light=false") from None
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    device = library.oidnNewDevice(_CPU)
    library.oidnSetDeviceInt(device, b"numThreads", 1)
    library.oidnSetDeviceBool(device, b"setAffinity", False)
    library.oidnCommitDevice(device)
    return library, device
