"""vmlinux.py BZIMAGE OUT: the ELF kernel inside a bzImage, which qemu starts without unpacking it first.

Offsets: Linux, Documentation/arch/x86/boot.rst.
"""

import lzma
import struct
import subprocess
import sys
from pathlib import Path

image = Path(sys.argv[1]).read_bytes()
offset, length = struct.unpack_from("<II", image, 0x248)  # payload_offset, payload_length
start = ((image[0x1F1] or 4) + 1) * 512 + offset  # setup_sects
payload = image[start : start + length]
if payload.startswith(b"\xfd7zXZ\0"):
    kernel = lzma.LZMADecompressor().decompress(payload)
elif payload.startswith(b"\x28\xb5\x2f\xfd"):
    kernel = subprocess.run(["zstd", "-dc"], input=payload[:-4], stdout=subprocess.PIPE, check=True).stdout
else:
    sys.exit(f"{sys.argv[1]}: packed in an unknown way, starts with {payload[:6].hex()}")
if not kernel.startswith(b"\x7fELF"):
    sys.exit(f"{sys.argv[1]}: what was unpacked is no ELF file")
Path(sys.argv[2]).write_bytes(kernel)
