package awsstack

import (
	"strings"
	"testing"

	"godwit/internal/awstest"
)

// TestTemplateHas: an update gives a parameter its previous value only if the
// template still has it.
func TestTemplateHas(t *testing.T) {
	template, err := awstest.ParseTemplate(Template)
	if err != nil {
		t.Fatal(err)
	}
	for name := range template.Parameters {
		if !templateHas(name) {
			t.Errorf("parameter %s is not seen", name)
		}
	}
	for _, name := range []string{"Table", "Stream", "Url", "Type", "Flavour", ""} {
		if templateHas(name) {
			t.Errorf("%q is seen as a parameter", name)
		}
	}
}

// TestLayout: what is added to an adopted table is what the template gives its own.
func TestLayout(t *testing.T) {
	for _, text := range []string{
		"{AttributeName: " + keyAttribute + ", KeyType: HASH}", "IndexName: " + indexes[0], "IndexName: " + indexes[1],
		"{AttributeName: " + indexes[0] + ", KeyType: HASH}", "{AttributeName: " + indexes[1] + ", KeyType: HASH}",
		"{AttributeName: " + ttlAttribute + ", Enabled: true}", "StreamViewType: NEW_IMAGE", "ProjectionType: KEYS_ONLY",
	} {
		if !strings.Contains(Template, text) {
			t.Errorf("the template has no %q", text)
		}
	}
}
