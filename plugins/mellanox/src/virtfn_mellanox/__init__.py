"""NVIDIA Mellanox cards of the mlx5 driver: ConnectX-4 to ConnectX-9, and BlueField."""

from virtfn_mellanox.plugin import MellanoxPlugin

__all__ = ["MellanoxPlugin"]
