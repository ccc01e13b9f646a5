"""A contract for import-linter: what a folder of the project may import of the project, as a list."""

from collections.abc import Collection
from typing import Any

from importlinter import Contract, ContractCheck, fields, output

PROJECT = ("vosforge", "assets", "blender_scenes", "render", "mivos_models", "train", "tools")


class AllowedImports(Contract):
    """Modules of ``importers`` import of the project only themselves and ``allowed``, and nothing of ``forbidden``."""

    importers = fields.SetField(subfield=fields.StringField())
    allowed = fields.SetField(subfield=fields.StringField(), required=False)
    forbidden = fields.SetField(subfield=fields.StringField(), required=False)

    def check(self, graph: Any, verbose: bool) -> ContractCheck:
        """Every direct import is looked at; longer ways consist of them."""
        forbidden, allowed = self.forbidden or (), (*self.importers, *(self.allowed or ()))
        broken = [
            (module, other)
            for module in sorted(graph.modules)
            if _below(module, self.importers) and not _below(module, forbidden)
            for other in sorted(graph.find_modules_directly_imported_by(module))
            if _below(other, PROJECT) and (_below(other, forbidden) or not _below(other, allowed))
        ]
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """One line an import."""
        for module, other in check.metadata["broken"]:
            output.print_error(f"{module} imports {other}")


def _below(module: str, roots: Collection[str]) -> bool:
    return any(module == root or module.startswith(f"{root}.") for root in roots)
