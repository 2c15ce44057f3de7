"""A process that knows nothing of Textmill: it imports transformers, and forks another for each script.

One request a line, {"script", "arguments", "folder"}, answered by {"output"}: what the script printed, run in `folder`
with `sys.argv[1:]` as given; or {"error"}.
"""

import io
import json
import os
import sys
import tempfile
import traceback
from contextlib import redirect_stdout

import transformers

USED = """
AutoModelForCausalLM AutoModelForMaskedLM AutoModelForPreTraining AutoTokenizer
AlbertForPreTraining BertForPreTraining GPT2LMHeadModel OpenAIGPTLMHeadModel RobertaForMaskedLM XLNetLMHeadModel
"""
for name in USED.split():
    getattr(transformers, name)  # imports it, here instead of in each script

OURS = {"textmill", "lm", "tasks", "flows", "data_quality"}


def run(script: str, arguments: list[str], folder: str) -> dict[str, str]:
    os.chdir(folder)
    sys.argv[1:] = arguments
    try:
        with redirect_stdout(io.StringIO()) as output:
            exec(compile(script, "script", "exec"), {"__name__": "__main__"})
        if known := OURS & {name.partition(".")[0] for name in sys.modules}:
            return {"error": f"the script knows {known}"}
    except BaseException:  # noqa: BLE001 whatever it is, the test is to say it
        return {"error": traceback.format_exc()}
    return {"output": output.getvalue()}


for line in sys.stdin:
    request = json.loads(line)
    with tempfile.TemporaryFile("w+") as answer:
        if not (child := os.fork()):
            json.dump(run(**request), answer)
            answer.flush()
            os._exit(0)
        os.waitpid(child, 0)
        answer.seek(0)
        print(answer.read() or json.dumps({"error": "the script's process ended"}), flush=True)
os._exit(0)
