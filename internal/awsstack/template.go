package awsstack

import _ "embed"

// Template is the CloudFormation template, the only one that there is.
//
//go:embed template.yaml
var Template string
