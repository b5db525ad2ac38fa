"""A machine of 64-bit ARM."""

from .life import Life


class Arm(Life):
    """The main job, on another architecture: the ramdisk of `make ramdisk ARCH=aarch64`."""

    title = "an unmodified Ironic deploys a machine of 64-bit ARM"
    MACHINE = "arm"
    images = ("whole-disk-aarch64.raw",)
    packages = ("qemu-system-arm", "qemu-efi-aarch64")

    def enrol(self):
        node = super().enrol()
        # Its first serial line has another name.
        node.set(driver_info__kernel_append_params="%default% console=ttyAMA0")
        return node
