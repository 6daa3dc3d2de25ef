// Builds lnget for `make test-clients`: its own versions, and the replacement its release makes.
module tollway.test/lnget

go 1.26.0

tool github.com/lightninglabs/lnget/cmd/lnget

require github.com/lightninglabs/lnget v1.1.0

replace google.golang.org/protobuf => github.com/lightninglabs/protobuf-go-hex-display v1.33.0-hex-display
