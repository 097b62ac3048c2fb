# report.html: it is made by every run, and its lines work when they are pasted.
device=$DEVICE
command -v python3 >/dev/null || { skip 'the report: no python3 to read it with'; return; }

# line N FOLDER: the text of the N-th <pre> of its report, as a browser copies it.
line() {
    python3 -c 'import html, re, sys
page = open(sys.argv[2] + "/report.html", encoding="utf-8").read()
print(html.unescape(re.findall("<pre>(.*?)</pre>", page, re.S)[int(sys.argv[1])]))' "$@"
}
# The two worst of the example model.
skipped='"model.layers.2.mlp.up_proj", "model.layers.2.mlp.gate_proj"'

works '' 'a run with a report' quantize "$model" --method rtn --output "$work/first" --device "$device" --quiet \
    --set "skip_list_names=[\"it's <b>\", \"layers.0.mlp.down_proj\"]"
cp "$work/first/bitmill.json" "$stdout"
json_is 'len(j["linears"]) == 20 and all(l["shape"][0] > 0 and l["squared_error"] > 0 for l in j["linears"])'
# Nothing watched inputs.
json_is 'not any(k in l for l in j["linears"] for k in ("output_error", "tokens", "damping", "fell_back"))'
! grep -q '<h2>Calibration' "$work/first/report.html" || complain 'the report has a part on calibration'
# nmse is squared_error over the squares of the weights, which are float16 here.
json_is 'all(0 < l["nmse"] < 0.1 for l in j["linears"])'
python3 -c 'import json, struct, sys
record = json.load(open(sys.argv[1] + "/bitmill.json", encoding="utf-8"))
data = open(sys.argv[2] + "/model.safetensors", "rb").read()
start = 8 + struct.unpack("<Q", data[:8])[0]
header = json.loads(data[8:start])
for linear in record["linears"]:
    tensor = header[linear["name"] + ".weight"]
    begin, end = tensor["data_offsets"]
    weights = struct.unpack("<%de" % ((end - begin) // 2), data[start + begin:start + end])
    norm = sum(w * w for w in weights)
    assert tensor["shape"] == linear["shape"], linear
    assert abs(linear["squared_error"] / norm / linear["nmse"] - 1) < 1e-5, linear' "$work/first" "$model" \
    2>"$stderr" || complain 'shape, nmse and squared_error do not agree with the weights'
line 0 "$work/first" | grep -qF "$skipped" || complain "expected the worst to begin with $skipped"

# The five worst, with the rest of their layers.
worst=$(line 0 "$work/first" | grep -o 'model\.' | grep -c .)
[ "$worst" -ge 5 ] || complain "expected five linears or more to leave out, not $worst"
pasted() { # TITLE: the run took the line: those linears stay float too, beside those that were skipped before
    cp "$out/bitmill.json" "$stdout"
    title=$1
    json_is "len(j['linears']) == 20 - $worst and len(j['arguments']['skip_list_names']) == 2 + $worst"
    json_is 'j["arguments"]["skip_list_names"][0].endswith("s <b>") and len(j["arguments"]["skip_list_names"][0]) == 8'
    json_is 'not any(n in l["name"] for l in j["linears"] for n in j["arguments"]["skip_list_names"])'
    rm -rf "$out"
}
printf '{"model_name_or_path": "%s", "output_dir": "%s", "do_ptq": true, "quant_type": "wint4",\n%s}\n' \
    "$model" "$out" "$(line 0 "$work/first")" >"$work/pasted.json"
works '' 'the line for a parameter file' quantize "$work/pasted.json" --device "$device" --quiet
pasted 'the line for a parameter file was taken'
eval "set -- $(line 1 "$work/first")"
works '' 'the line for the command line' quantize "$model" --method rtn --output "$out" --device "$device" --quiet "$@"
pasted 'the line for the command line was taken'

# What GPTQ met is in the record, on the terminal and in the report.
gptq() { # TITLE WORDS FOLDER: with few tokens
    head -c 1000 "$data/evaluation.txt" >"$work/few.txt"
    works "$2" "$1" quantize "$model" --method gptq --data "$work/few.txt" --output "$work/$3" --device "$device" \
        --set code_sweeps=0
    cp "$work/$3/bitmill.json" "$stdout"
}
few='few calibration tokens: '
enough=' input channels; 1024 would be enough'
gptq 'GPTQ with few tokens' "error of outputs: |% of rounding to the same grids (few tokens)|$few|$enough" few
grep -q "^warning: calibration: .* tokens are few for 512 input channels; 1024 would be enough (2 a channel)\$" "$stderr" ||
    complain 'the log lacks a warning of few tokens'
grep -q '<th>gptq</th><td>act_order static, damping auto, qep_alpha 0.5, 0 code sweeps, scales refitted</td>' "$work/few/report.html" &&
    grep -q '<th>passes</th><td>5 a block, 4 of which watch' "$work/few/report.html" ||
    complain 'the report does not say how GPTQ went about it'
json_is 'all(0 < l["output_error"] < l["output_error_rounding"] and not l["fell_back"] for l in j["linears"])'
json_is 'all(abs(l["tokens"] / l["shape"][1] / l["tokens_per_channel"] - 1) < 1e-9 for l in j["linears"])'
# As many as max(0.01, channels / (2 tokens)) says.
json_is 'all(abs(l["damping"] * 2 * l["tokens_per_channel"] - 1) < 1e-6 for l in j["linears"] if not l["damping_raised"])'
grep -q 'has [0-9.]*&nbsp;% of the output error' "$work/few/report.html" || complain 'the worst are not those of outputs'
grep -q 'Few calibration tokens</b>: .* 1024 would be enough' "$work/few/report.html" ||
    complain 'the report does not say that tokens are few'

# Inputs that are all 0: the norm before gate and up gives nothing.
python3 -c 'import json, struct, sys
data = bytearray(open(sys.argv[1], "rb").read())
start = 8 + struct.unpack("<Q", data[:8])[0]
begin, end = json.loads(data[8:start])["model.layers.1.post_attention_layernorm.weight"]["data_offsets"]
data[start + begin:start + end] = bytes(end - begin)
open(sys.argv[1], "wb").write(data)' "$model/model.safetensors"
gptq 'GPTQ of linears without inputs' 'rounded plainly: 3 of 21 linears; report.html names them' zero
grep -q '^warning: .*layers.1.*no input was ever different from 0' "$stderr" || complain 'the log lacks who fell back'
[ "$(grep -c 'no input was ever' "$stderr")" = 1 ] || complain 'a reason is told twice'
grep -q '^warning: calibration: 3 of 21 linears were rounded plainly; report.html names them$' "$stderr" ||
    complain 'the log lacks how many fell back'
json_is 'j["calibration"]["hessians_in_files"] is False and j["calibration"]["fell_back"] == 3 and j["calibration"]["skipped_sequences"] == 0'
json_is 'j["calibration"]["guarded_rows"] == sum(l.get("guarded_rows", 0) for l in j["linears"])'
json_is '[l["name"][15:] for l in j["linears"] if l["fell_back"]] == ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]'
json_is 'all("output_error" in l for l in j["linears"])' # so the report goes by outputs
json_is 'all(("reason" in l) == l["fell_back"] != ("damping" in l) for l in j["linears"])'
grep -q 'up_<wbr>proj</b> was rounded plainly: .*no input was ever different from 0' "$work/zero/report.html" ||
    complain 'the report does not name who fell back'
