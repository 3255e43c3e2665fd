//go:build lambdazip

package awsstack

import _ "embed"

// scripts/lambda-zip.sh internal/awsstack/function makes them; a release is
// built with -tags lambdazip after that.
var (
	//go:embed function/godwit-lambda-arm64.zip
	zipARM64 []byte
	//go:embed function/godwit-lambda-amd64.zip
	zipAMD64 []byte
)

// embedded is the function's zip that this program carries.
func embedded(architecture string) []byte {
	if architecture == AMD64 {
		return zipAMD64
	}
	return zipARM64
}
