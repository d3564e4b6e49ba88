#!/bin/sh
# What `make demo` runs: the whole way from weights to a prediction, on weights anyone can make.
set -eu
out=artifacts/demo
mkdir -p "$out"

step() { printf '\n== %s\n$ %s\n' "$1" "$2"; sh -c "$2"; }

step "1. A checkpoint: untrained stand-in weights, because the authors' may not be redistributed" \
	"emonet checkpoint standin --nclass 8"
step "2. To ONNX, and proof that it computes the same" \
	"emonet export --nclass 8 --checkpoint standin --out $out"
step "3. A real photograph of a face" \
	"python docs/scripts/photograph.py $out/face.png"
step "4. What the model says of it (untrained weights: the words mean nothing, the path is real)" \
	"emonet predict $out/face.png --detector none --model $out/emonet_8.fp32.onnx --json $out/prediction.json --force"
step "5. How fast, and how equal" \
	"emonet bench --engine torch,onnx --batch 1 --checkpoint standin --out $out --seconds 3 --n 8 --json $out/bench.json"

# FP16 and INT8 are judged beside float32 once they have been exported.
results=""
for precision in fp32 fp16 int8; do
	model="$out/emonet_8.$precision.onnx"
	test -f "$model" || continue
	step "6. How accurate, on drawn faces labelled around the reference's own outputs ($precision)" \
		"emonet eval $model --limit 16 --json $out/eval.$precision.json --report $out/report.$precision"
	results="$results $out/eval.$precision.json"
done
step "7. Side by side" "python -m emonet_deploy.benchmarks.accuracy.compare_results$results"

cat <<END

== Done
Everything lies in $out: the ONNX model, the photograph, the prediction, the speed table and the report on accuracy.
With the authors' weights (CC BY-NC-ND 4.0), the same model that the paper measured:
    . .venv/bin/activate
    emonet checkpoint fetch --nclass 8
    emonet export --nclass 8
    emonet predict YOUR_FACE_CROPS/
END
