#!/bin/sh
# What `make demo` runs: first what holds for any weights, then a photograph.
set -eu
checkpoint=${1:-standin}
out=artifacts/demo
mkdir -p "$out"

step() { printf '\n== %s\n$ %s\n' "$1" "$2"; sh -c "$2"; }

if [ "$checkpoint" = original ]; then
	step "0. The authors' weights, hash-checked, under CC BY-NC-ND 4.0; this needs the network" \
		"emonet checkpoint fetch --nclass 8"
fi
step "1. Parity: the model as ONNX computes what the reference computes; otherwise it would not get its name" \
	"emonet export --nclass 8 --checkpoint $checkpoint --out $out --card --json $out/parity.json"
step "2. Rewritten for CPUs: fewer operations, the same function, a gate of its own" \
	"emonet export --nclass 8 --checkpoint $checkpoint --target cpu --out $out --quiet"
step "3. Precision and speed in one table, timed in turns" \
	"emonet bench --engine torch,onnx --target gpu,cpu --batch 1 --checkpoint $checkpoint --out $out --seconds 3 --n 8 --json $out/bench.json"
step "4. Drawn faces, whose landmarks and emotions are known exactly" \
	"python docs/scripts/known_landmarks.py $out/landmarks.png"
step "5. What the rewriting for CPUs costs in accuracy, on drawn faces, against the reference" \
	"emonet eval $out/emonet_8.fp32.cpu.onnx --limit 16 --against reference --json $out/eval.json --report $out/report"
if [ "$checkpoint" = standin ]; then
	printf '\n%s\n' "The stand-in is untrained: the path is real, the words below mean nothing."
fi
step "6. A photograph" \
	"python docs/scripts/photograph.py $out/face.png && emonet predict $out/face.png --model $out/emonet_8.fp32.onnx --json $out/prediction.json --force"

cat <<END

== Done
Everything lies in $out: two models with their card, the proof, the speed table, the report on accuracy, the drawn
faces, the photograph and its prediction.
END
if [ "$checkpoint" = standin ]; then
	echo "With the authors' weights, the model that the paper measured:   make demo CHECKPOINT=original"
fi
