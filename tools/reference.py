"""A griffe extension for the reference: it shows what Python would find, and examples as code.

`neuro_decorr.metrics.summary` is a function to Python: the package imports it from the submodule of that name. griffe,
which reads sources and runs nothing, keeps the submodule, and the reference would lack the function. And a section
`Example:` is a remark to griffe, with every >>> a quotation; `Examples:` it knows.
"""

from __future__ import annotations

import re
from typing import Any

import griffe


def offered(package: griffe.Module) -> list[tuple[griffe.Module, str, griffe.Object]]:
    """Every name below a package that hides a submodule: where it stands, and what Python finds there."""
    found = []
    for name, member in package.members.items():
        if isinstance(member, griffe.Module):
            found += offered(member)
            if name in (package.exports or ()) and package.imports.get(name) == f"{member.path}.{name}":
                found.append((package, name, member[name]))
    return found


class Reference(griffe.Extension):
    """See the module."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Name the sections of examples as griffe does."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **_: Any) -> None:
        """Put functions before submodules, once every name that leads into these has been followed."""
        loader.resolve_aliases(implicit=False, external=False)
        for package, name, value in offered(pkg):
            self.on_object(obj=value)  # the walk over all objects, which comes next, follows no alias
            package.members[name] = griffe.Alias(name, value, parent=package)
