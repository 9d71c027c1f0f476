"""Plain Verilog of the gateware, for designs in other languages."""

from amaranth.back import verilog
from amaranth.lib import wiring

__all__ = ["to_verilog"]


def to_verilog(component: wiring.Component, name: str) -> str:
    """Return a component as one self-contained piece of Verilog-2005.

    Parameters
    ----------
    component : Component
        Such as :class:`~firstspike.hdl.core.Core`,
        :class:`~firstspike.hdl.accelerator.Accelerator` or
        :class:`~firstspike.hdl.accelerator.SerialAccelerator`.
    name : str
        Of the top module; those below it are called ``name.part``, so that two exports can live in
        one design.

    Returns
    -------
    str
        The ports are ``clk``, ``rst`` (synchronous, high) and the members of the component's
        signature, joined by two underscores: ``i__payload``, ``i__valid``, ``i__ready``. The
        layouts of payloads are in ``docs/verilog.md``.
    """
    # Without source locations the text depends on nothing but the component.
    return verilog.convert(component, name=name, emit_src=False, strip_internal_attrs=True)
