"""A contract for import-linter: from outside a room, only the room's `__init__` is imported.

A room is a package below one of the root packages. New rooms are held to it without being listed.
"""

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class RoomFacesContract(Contract):
    """Every import of a module inside a room comes from inside the same room."""

    type_name = "room_faces"

    root_packages = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Each import of a module that is no package, below a root package, against the room that holds it."""
        passes_by = [
            (importer, module)
            for module in sorted(graph.modules)
            for room in [module.rpartition(".")[0]]
            if room.count(".") >= 1 and room.split(".")[0] in self.root_packages  # type: ignore[operator]
            if not graph.find_children(module)
            for importer in sorted(graph.find_modules_that_directly_import(module))
            if importer != room and not importer.startswith(f"{room}.")
        ]
        return ContractCheck(kept=not passes_by, metadata={"passes_by": passes_by})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """One line for each import."""
        for importer, module in check.metadata["passes_by"]:
            room = module.rpartition(".")[0]
            output.print_error(f"{importer} imports {module}: take the name from {room}")
