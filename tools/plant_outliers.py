#!/usr/bin/env python3
"""Plants outliers of activations in a model of llama's shape that computes the same afterwards, with Python's standard library.

  norms    some channels of each input_layernorm and post_attention_layernorm times a factor, and the columns of the linears
           that read them divided by it
  linears  some rows of each v_proj and up_proj (and of their biases) times a factor, undone in the columns of o_proj and
           down_proj; where several query heads share a value head, one row of v_proj is undone in a column for each

Factors are drawn evenly between --least and --most. The result is one file of float32: 16 bits would not hold the model.

Usage: plant_outliers.py [OPTION]... MODEL OUTPUT
"""
import argparse, array, json, math, os, random, shutil, struct, sys

FAMILIES = ["llama", "mistral", "qwen2", "qwen3"]
SIZES = {"F32": 4, "F16": 2, "BF16": 2}
MAX_HEADER = 100 << 20


def fail(words):
    print(f"plant_outliers: {words}", file=sys.stderr)
    sys.exit(2)


def read_json(path):
    try:
        with open(path, encoding="utf-8") as f:
            value = json.load(f)
    except (OSError, ValueError) as e:
        fail(f"{path}: {e}")
    if not isinstance(value, dict):
        fail(f"{path}: expected an object")
    return value


def files_of(folder):
    """The names of the model's files of weights."""
    index = os.path.join(folder, "model.safetensors.index.json")
    if not os.path.exists(index):
        return ["model.safetensors"]
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(n, str) and n == os.path.basename(n) for n in names.values()):
        fail(f"{index}: \"weight_map\": expected names of files")
    return sorted(set(names.values()))


def list_tensors(folder):
    """Name -> (path, offset in the file, type, shape) of every tensor."""
    tensors = {}
    for name in files_of(folder):
        path = os.path.join(folder, name)
        try:
            with open(path, "rb") as f:
                size, = struct.unpack("<Q", f.read(8))
                if size > MAX_HEADER:
                    fail(f"{path}: no safetensors: a header of {size} bytes")
                header = json.loads(f.read(size))
                for tensor, entry in header.items():
                    if tensor == "__metadata__":
                        continue
                    (begin, end), shape = entry["data_offsets"], entry["shape"]
                    if entry["dtype"] not in SIZES:
                        fail(f"{path}: tensor \"{tensor}\": found {entry['dtype']}, expected F32, F16 or BF16 (a float model)")
                    if end - begin != math.prod(shape) * SIZES[entry["dtype"]] or 8 + size + end > os.path.getsize(path):
                        fail(f"{path}: tensor \"{tensor}\": {begin} to {end} do not hold {shape} of {entry['dtype']}")
                    tensors[tensor] = (path, 8 + size + begin, entry["dtype"], shape)
        except OSError as e:
            fail(str(e))
        except (ValueError, KeyError, TypeError, AttributeError, struct.error):
            fail(f"{path}: its header is no safetensors header")
    return tensors


def read_floats(place):
    path, offset, dtype, shape = place
    count = math.prod(shape)
    with open(path, "rb") as f:
        f.seek(offset)
        data = f.read(count * SIZES[dtype])
    if dtype == "F16":
        return array.array("f", struct.unpack(f"<{count}e", data))
    if dtype == "BF16":  # the upper half of a float32
        wide = bytearray(4 * count)
        wide[2::4], wide[3::4] = data[0::2], data[1::2]
        data = bytes(wide)
    values = array.array("f", data)
    if sys.byteorder == "big":
        values.byteswap()
    return values


class Changes:
    """What becomes of each tensor: factors of rows (of a vector: of its elements) and divisors of columns."""

    def __init__(self, tensors):
        self.tensors, self.rows, self.columns = tensors, {}, {}

    def expect(self, name, axis, width):
        """That the tensor has that many rows (axis 0) or columns (axis 1)."""
        if name not in self.tensors:
            fail(f"tensor \"{name}\" is missing")
        shape = self.tensors[name][3]
        if len(shape) <= axis or shape[axis] != width:
            fail(f"tensor \"{name}\": found shape {shape}, expected {width} in place {axis}, as config.json says")

    def multiply(self, module, width, factors):
        """Rows of a linear, or the elements of a norm, and the bias if there is one."""
        for name in [f"{module}.weight"] + [f"{module}.bias"] * (f"{module}.bias" in self.tensors):
            self.expect(name, 0, width)
            self.rows[name] = factors

    def divide(self, module, width, factors):
        self.expect(f"{module}.weight", 1, width)
        self.columns[f"{module}.weight"] = factors

    def apply(self, name, values):
        shape = self.tensors[name][3]
        width = shape[1] if len(shape) == 2 else 1
        for row, factor in self.rows.get(name, {}).items():
            begin, end = row * width, (row + 1) * width
            values[begin:end] = array.array("f", [v * factor for v in values[begin:end]])
        for column, factor in self.columns.get(name, {}).items():
            values[column::width] = array.array("f", [v / factor for v in values[column::width]])


def draw(o, block, where, width, count):
    """Places out of width -> factors; those of one place do not depend on what else is drawn."""
    if count > width:
        fail(f"{count} places of {where}, which has {width}")
    chance = random.Random(f"{o.seed} {block} {where}")
    return {place: chance.uniform(o.least, o.most) for place in sorted(chance.sample(range(width), count))}


def plan(o, sizes, tensors):
    changes = Changes(tensors)
    heads, value_heads, head_dim, hidden, wide, blocks = sizes
    values, attended, shared = value_heads * head_dim, heads * head_dim, heads // value_heads
    for b in range(blocks):
        block = f"model.layers.{b}"
        for norm, readers in (("input_layernorm", ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")),
                              ("post_attention_layernorm", ("mlp.gate_proj", "mlp.up_proj"))):
            factors = draw(o, b, norm, hidden, o.channels)
            changes.multiply(f"{block}.{norm}", hidden, factors)
            for reader in readers:
                changes.divide(f"{block}.{reader}", hidden, factors)
        factors = draw(o, b, "v_proj", values, o.rows)
        columns = {(row // head_dim * shared + h) * head_dim + row % head_dim: factor
                   for row, factor in factors.items() for h in range(shared)}
        changes.multiply(f"{block}.self_attn.v_proj", values, factors)
        changes.divide(f"{block}.self_attn.o_proj", attended, columns)
        factors = draw(o, b, "up_proj", wide, o.rows)
        changes.multiply(f"{block}.mlp.up_proj", wide, factors)
        changes.divide(f"{block}.mlp.down_proj", wide, factors)
    return changes


def sizes_of(path, config):
    """Query heads, value heads, their width, hidden size, intermediate size, blocks."""
    def size(key, default=None):
        value = default if config.get(key) is None else config[key]
        if not isinstance(value, int) or not 0 < value < 1 << 31:
            fail(f"{path}: \"{key}\": found {json.dumps(value)}, expected a number")
        return value
    heads, hidden = size("num_attention_heads"), size("hidden_size")
    value_heads = size("num_key_value_heads", heads)
    if heads % value_heads:
        fail(f"{path}: \"num_key_value_heads\": found {value_heads}, expected a divisor of {heads} heads")
    return heads, value_heads, size("head_dim", hidden // heads), hidden, size("intermediate_size"), size("num_hidden_layers")


def write(folder, tensors, changes):
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name in sorted(tensors):
        begin, end = end, end + 4 * math.prod(tensors[name][3])
        header[name] = {"dtype": "F32", "shape": tensors[name][3], "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(folder, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name in sorted(tensors):
            values = read_floats(tensors[name])
            changes.apply(name, values)
            if sys.byteorder == "big":
                values.byteswap()
            values.tofile(f)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of a float model")
    parser.add_argument("output", help="folder that is not there yet")
    parser.add_argument("--channels", type=int, default=4, help="of each norm (default 4)")
    parser.add_argument("--rows", type=int, help="of each v_proj and up_proj (default: as --channels)")
    parser.add_argument("--least", type=float, default=30, help="factor (default 30)")
    parser.add_argument("--most", type=float, default=100, help="factor (default 100)")
    parser.add_argument("--seed", type=int, default=1, help="the same gives the same places and factors (default 1)")
    o = parser.parse_args()
    o.rows = o.channels if o.rows is None else o.rows
    if o.channels < 0 or o.rows < 0 or not 0 < o.least <= o.most < 1e6:
        fail("--channels and --rows are not negative, and 0 < --least <= --most < 1e6")
    path = os.path.join(o.model, "config.json")
    config = read_json(path)
    if config.get("model_type") not in FAMILIES:
        fail(f"{path}: \"model_type\": found {json.dumps(config.get('model_type'))}, expected one of {', '.join(FAMILIES)}")
    if "quantization_config" in config:
        fail(f"{path}: \"quantization_config\": expected a float model")
    if os.path.exists(o.output):
        fail(f"{o.output}: exists")
    tensors = list_tensors(o.model)
    changes = plan(o, sizes_of(path, config), tensors)
    partial = o.output.rstrip("/") + ".partial"
    try:
        os.makedirs(partial)
    except OSError as e:
        fail(str(e))
    try:
        write(partial, tensors, changes)
        config["torch_dtype"] = "float32"
        config.pop("dtype", None)
        with open(os.path.join(partial, "config.json"), "w", encoding="utf-8") as f:
            json.dump(config, f, indent=2)
        for name in sorted(os.listdir(o.model)):
            if name.endswith((".json", ".model", ".txt")) and name != "config.json" and "safetensors" not in name:
                shutil.copy(os.path.join(o.model, name), partial)
        os.rename(partial, o.output)
    except OSError as e:
        shutil.rmtree(partial, ignore_errors=True)
        fail(str(e))
    print(f"{o.output}: {config['num_hidden_layers']} blocks, {o.channels} channels of each norm and {o.rows} rows of each v_proj and "
          f"up_proj times {o.least:g} to {o.most:g}, seed {o.seed}")


if __name__ == "__main__":
    main()
