package signature

// Base is what was signed.
func (m *Message) Base() string { return string(m.base) }

// MessageOf is a Message with this base and signature.
func MessageOf(base string, signature []byte) *Message {
	m := &Message{base: []byte(base)}
	copy(m.signature[:], signature)
	return m
}

// IsDictionary tells whether parseDictionary takes a text.
func IsDictionary(text string) bool {
	_, ok := parseDictionary(text)
	return ok
}

const (
	MaxMembers = maxMembers
	MaxItems   = maxItems
	MaxParams  = maxParams
	MaxField   = maxField
)
