#!/bin/sh
# Ask `emonet serve` about a picture: sh examples/faces.sh http://127.0.0.1:8000 photo.jpg
# Where a proxy asks for a token, put it into the environment variable EMONET_TOKEN.
set -eu
# A full queue answers 429, a server that is ending 503: curl waits and tries again.
exec curl --silent --show-error --fail-with-body --retry 5 --max-time 60 \
	${EMONET_TOKEN:+--header "Authorization: Bearer $EMONET_TOKEN"} \
	--header "Content-Type: application/octet-stream" \
	--data-binary "@$2" "$1/v1/faces"
