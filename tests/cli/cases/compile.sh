# bench --compile: every pipeline compiled, nothing run. Mesa's driver for AMD offers a device without hardware for that.
fails 2 '--compile|without other options' 'compiling and tuning' bench --compile --tune
fails 2 '--compile|without other options' 'compiling for shapes' bench --compile --shapes small
fails 2 '--compile|without other options' 'compiling two devices' bench --compile --compare host
fails 2 '--compile|without other options' 'compiling one type' bench --compile --dtype F16
fails 2 '--compile|host is plain C' 'compiling on the host' bench --compile --device host

radv=$(ls /usr/share/vulkan/icd.d/radeon_icd*.json 2>/dev/null | head -n 1)
if [ -n "$radv" ]; then
    drivers=${VK_ICD_FILENAMES-}
    export VK_ICD_FILENAMES="$radv"
    RADV_FORCE_FAMILY=vega10; export RADV_FORCE_FAMILY
    works 'registers|gemm_tile|GROUP=256 SLICE=8 ROWS=8|BF16|default|pipelines: 0 failed|0 of them in a default variant' \
        'a GPU that is not here' bench --compile --device vulkan
    RADV_FORCE_FAMILY=navi21
    works 'registers|spills|subgroup_size' 'the same as JSON' bench --compile --device vulkan --json --quiet
    json_is 'len(j["pipelines"]) > 150 and j["failed"] == j["spilled_default"] == 0 and "NAVI21" in j["device"]["name"]'
    json_is 'all(p["registers"] > 0 and p["spills"] == 0 and p["subgroup_size"] in (32, 64) for p in j["pipelines"])'
    json_is 'any(p["kernel"] == "gemm_tile" and p["tunables"] == {"GROUP": 256, "SLICE": 8, "ROWS": 8}
        and p["types"] == {"x": "F16", "w": "F16", "bias": "F16", "y": "F16"} and p["default"]
        and p["shared_bytes"] == 16384 and p["statistics"]["VGPRs"] == p["registers"] for p in j["pipelines"])'
    unset RADV_FORCE_FAMILY VK_ICD_FILENAMES
    [ -z "$drivers" ] || export VK_ICD_FILENAMES="$drivers"
else
    skip 'a GPU that is not here: no RADV (mesa-vulkan-drivers)'
fi
