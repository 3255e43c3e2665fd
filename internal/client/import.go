package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"godwit/internal/api"
)

// One request of an import holds at most so many hosts, if Config does not say,
// and octets, well below what the server takes (16 MiB).
const (
	chunkHosts  = 1000
	chunkOctets = 8 << 20
)

// ImportOptions say how to read an import.
type ImportOptions struct {
	// Host is whose row the document is, if it is one row of the seed's table.
	Host string
	// Progress, if not nil, is called after every part with the sum so far.
	Progress func(api.ImportResult)
}

// Import reads a document (an export, the seed's file or table items) from r
// and adds its hosts part by part; a document of any size goes through. What
// the result counts as added is durable, also if an error comes with it. Run
// again after an error: hosts that are there stay as they are.
func (c *Client) Import(ctx context.Context, r io.Reader, o ImportOptions) (api.ImportResult, error) {
	im := importer{c: c, ctx: ctx, o: o}
	im.sum.Skipped = []api.Skipped{}
	err := im.run(json.NewDecoder(r))
	return im.sum, err
}

type importer struct {
	c   *Client
	ctx context.Context // of the one Import that this value serves
	o   ImportOptions
	sum api.ImportResult

	open, end string // how a part begins and ends
	part      bytes.Buffer
	hosts     int // in part
}

func badFile(err error) error {
	return fmt.Errorf("the file is not JSON that can be imported: %w; give a file of `godwit host export`, the seed's config.json, or one host's row with --host NAME", err)
}

// run reads the members of the top object as they come. Only an export is
// streamed: its first member says that it is one. The other forms are read
// whole, and then sent in parts.
func (im *importer) run(d *json.Decoder) error {
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		if err == nil {
			err = fmt.Errorf("it begins with %v, not with an object", t)
		}
		return badFile(err)
	}
	var members []member
	export := false
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return badFile(err)
		}
		key, _ := t.(string)
		if export && key == "hosts" {
			if err := im.list(d, fmt.Sprintf(`{"godwit_export":%s,"hosts":[`, members[0].value), `]}`); err != nil {
				return err
			}
			continue
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return badFile(err)
		}
		members = append(members, member{key, value})
		export = export || key == "godwit_export" && len(members) == 1
	}
	if _, err := d.Token(); err != nil {
		return badFile(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return badFile(fmt.Errorf("there is more after the JSON document"))
	}
	if export {
		return im.flush()
	}
	return im.members(members)
}

type member struct {
	key   string
	value json.RawMessage
}

// members sends a document that was read whole.
func (im *importer) members(members []member) error {
	seedFile := len(members) > 0
	for _, m := range members {
		switch m.key {
		case "hosts", "Items":
			open := `{"Items":[`
			if m.key == "hosts" {
				open = `{"hosts":[`
				for _, v := range members {
					if v.key == "godwit_export" {
						open = fmt.Sprintf(`{"godwit_export":%s,"hosts":[`, v.value)
					}
				}
			}
			if len(m.value) > 0 && m.value[0] == '[' {
				if err := im.list(json.NewDecoder(bytes.NewReader(m.value)), open, `]}`); err != nil {
					return err
				}
				return im.flush()
			}
		}
		seedFile = seedFile && len(m.value) > 0 && m.value[0] == '{'
	}
	// The seed's many-host file is an object of objects; anything else is one
	// row, and goes as it is for the server to judge.
	im.begin("{", "}")
	for _, m := range members {
		key, err := json.Marshal(m.key)
		if err != nil {
			return badFile(err)
		}
		if err := im.add(append(append(key, ':'), m.value...), seedFile); err != nil {
			return err
		}
	}
	return im.flush()
}

// list sends the elements of an array in parts.
func (im *importer) list(d *json.Decoder, open, end string) error {
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return badFile(fmt.Errorf("hosts is not an array"))
	}
	im.begin(open, end)
	for d.More() {
		var host json.RawMessage
		if err := d.Decode(&host); err != nil {
			return badFile(err)
		}
		if err := im.add(host, true); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return badFile(err)
	}
	return nil
}

func (im *importer) begin(open, end string) { im.open, im.end = open, end }

// add puts one host into the part; full parts go if the document may be split.
func (im *importer) add(host []byte, split bool) error {
	if split && im.hosts > 0 && (im.hosts >= im.c.chunk || im.part.Len()+len(host) > chunkOctets) {
		if err := im.flush(); err != nil {
			return err
		}
	}
	if im.hosts == 0 {
		im.part.WriteString(im.open)
	} else {
		im.part.WriteByte(',')
	}
	im.part.Write(host)
	im.hosts++
	return nil
}

// flush sends the part.
func (im *importer) flush() error {
	if im.hosts == 0 {
		return nil
	}
	im.part.WriteString(im.end)
	query := url.Values{}
	if im.o.Host != "" {
		query.Set("host", im.o.Host)
	}
	var got api.ImportResult
	err := im.c.exchange(im.ctx, http.MethodPost, path("import"), query, bytes.NewReader(im.part.Bytes()), &got)
	if err != nil {
		return err
	}
	im.part.Reset()
	im.hosts = 0
	im.sum.Added += got.Added
	im.sum.Skipped = append(im.sum.Skipped, got.Skipped...)
	if im.o.Progress != nil {
		im.o.Progress(im.sum)
	}
	return nil
}
