package awsstack

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Removal says what removing an installation takes away, and what it leaves.
type Removal struct {
	Stack  string `json:"stack"`
	Region string `json:"region"`
	URL    string `json:"url,omitempty"`
	Table  string `json:"table,omitempty"`
	// Adopted tells that the table was there before the installation; it is never
	// deleted.
	Adopted bool   `json:"adopted"`
	Kept    bool   `json:"data_kept"`
	Zones   []Zone `json:"zones"` // stay in any case, with their records
	// Names are those to which the function was narrowed; nil: all of the zones.
	Names []string `json:"names,omitempty"`
}

// Removal reads what [Stack.Destroy] would do. A stack that is not there is a
// [*NotFoundError].
func (s *Stack) Removal(ctx context.Context, deleteData bool) (*Removal, error) {
	stack, err := s.existing(ctx)
	if err != nil {
		return nil, err
	}
	p, out := parameters(stack), outputs(stack)
	r := &Removal{Stack: s.Name, Region: s.AWS.Region, URL: out["Url"], Table: out["Table"], Adopted: p["AdoptedTable"] != "", Kept: !deleteData}
	if r.Adopted {
		r.Table = p["AdoptedTable"]
		if deleteData {
			return nil, usage("the table %s was there before this installation, so it is not deleted with it; leave --delete-data out, and then: aws dynamodb delete-table --region %s --table-name %[1]s", r.Table, s.AWS.Region)
		}
	}
	if p["Zones"] != "" {
		if r.Zones, err = parseZones(p["Zones"]); err != nil {
			return nil, err
		}
		if names := strings.Split(p["NamePatterns"], ","); !slices.Equal(names, patterns(r.Zones)) {
			r.Names = names
		}
	}
	return r, nil
}

// Destroy removes the installation and, if deleteData, its table. Interrupted or
// failed it can be repeated.
func (s *Stack) Destroy(ctx context.Context, deleteData bool) (*Removal, error) {
	stack, err := s.existing(ctx)
	if err != nil {
		return nil, err
	}
	if stack, err = s.settle(ctx, stack); err != nil {
		return nil, err
	}
	r, err := s.Removal(ctx, deleteData)
	if err != nil {
		return nil, err
	}
	// The table first: once the stack is gone, nobody would know its name.
	if deleteData && r.Table != "" {
		if err := s.deleteTable(ctx, r.Table); err != nil {
			return nil, err
		}
	}
	return r, s.delete(ctx, stack)
}

// deleteTable deletes a table, whether DynamoDB protects it or not.
func (s *Stack) deleteTable(ctx context.Context, name string) error {
	t, err := s.readTable(ctx, name)
	if err != nil {
		return err
	}
	if t == nil || t.Status == "DELETING" {
		return nil
	}
	if t.Protected {
		if err := s.dynamo(ctx, "UpdateTable", map[string]any{"TableName": name, "DeletionProtectionEnabled": false}, nil, true); err != nil {
			return fmt.Errorf("end the deletion protection of the table %s: %w", name, err)
		}
		if _, err := s.active(ctx, name); err != nil {
			return err
		}
	}
	err = s.dynamo(ctx, "DeleteTable", map[string]string{"TableName": name}, nil, true)
	if err != nil && !refused(err, "ResourceNotFoundException") {
		return fmt.Errorf("delete the table %s: %w", name, err)
	}
	s.Say("Deleted the table %s. DynamoDB keeps a backup of it for 35 days.", name)
	return nil
}
