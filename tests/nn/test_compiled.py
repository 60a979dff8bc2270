"""What is never compiled costs no compiler; what is compiled leaves out what is marked."""

import subprocess
import sys

PROGRAM = """
import sys
import torch
import zhixing.models.decoders
assert "torch._dynamo" not in sys.modules, "loading the families imports the compiler"

from zhixing.nn.compiled import compiled
from zhixing.nn.recurrent import RecurrentLayer

layer = RecurrentLayer("gru", 4, 4)
x = torch.randn(2, 3, 4)
wanted = layer(x, layer.new_state(2))[0]

class Twice(torch.nn.Module):
    def forward(self, x, state):
        return layer(x * 2, state)[0]

graphs = []
def backend(graph, inputs):
    graphs.append(str(graph.graph))
    return graph.forward

found = compiled(Twice(), backend=backend)(x / 2, layer.new_state(2))
assert torch.equal(found, wanted)
assert graphs and not any("sigmoid" in graph or "matmul" in graph for graph in graphs), graphs
"""


def test_the_compiler_is_imported_when_something_is_compiled_and_leaves_out_what_is_marked() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
