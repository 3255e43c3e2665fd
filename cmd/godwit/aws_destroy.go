package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"

	"godwit/internal/awsstack"
)

type awsDestroyCommand struct {
	stackFlags
	jsonFlag
	DeleteData bool `help:"Delete the table too, with all hosts. A table that was adopted stays."`
	Yes        bool `help:"Do not ask."`
}

func (awsDestroyCommand) Help() string {
	return `The table with the hosts stays unless --delete-data is given, and so do the hosted zones
with their records: names go on pointing where they point.

Examples:

    godwit aws destroy
    godwit aws destroy --delete-data --yes`
}

func (c awsDestroyCommand) Run(a *app) error {
	stack, err := c.stack(a)
	if err != nil {
		return err
	}
	plan, err := stack.Removal(a.ctx, c.DeleteData)
	if err != nil {
		return awsError(err)
	}
	if !c.Yes {
		if err := a.confirmName(c.question(plan), plan.Stack); err != nil {
			return err
		}
	}
	done, err := stack.Destroy(a.ctx, c.DeleteData)
	if err != nil {
		return awsError(err)
	}
	if c.JSON {
		return a.printJSON(done)
	}
	a.print("The installation %s in %s is gone.", done.Stack, done.Region)
	if done.Kept && done.Table != "" {
		a.print("Its table %s is still there. To use it again: godwit aws deploy%s%s%s --table %s", done.Table, c.flags(), zoneFlags(done.Zones), nameFlags(done.Names), shellQuote(done.Table))
	}
	if len(done.Zones) > 0 {
		a.print("So are the zones, at $0.50 a month each, with their records: %s", zoneList(done.Zones))
	}
	return nil
}

func zoneFlags(zones []awsstack.Zone) string {
	var out strings.Builder
	for _, z := range zones {
		fmt.Fprintf(&out, " --zone %s=%s", z.Apex, z.ID)
	}
	return out.String()
}

func nameFlags(names []string) string {
	var out strings.Builder
	for _, name := range names {
		out.WriteString(" --names " + shellQuote(name))
	}
	return out.String()
}

func (c awsDestroyCommand) question(r *awsstack.Removal) string {
	goes := []string{fmt.Sprintf("The installation %s in %s will be removed: the function, its URL %s and its log.", r.Stack, r.Region, r.URL)}
	switch {
	case r.Table == "":
	case r.Kept:
		goes = append(goes, fmt.Sprintf("The table %s stays.", r.Table))
	default:
		goes = append(goes, fmt.Sprintf("The table %s will be DELETED, with all hosts and their secrets.", r.Table))
	}
	return strings.Join(goes, "\n")
}

// confirmName asks a person, who must type the name of what will go.
func (a *app) confirmName(question, name string) error {
	f, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return usage("%s\nNobody can be asked here; to do it, add --yes", question)
	}
	fmt.Fprintf(a.stderr, "%s\nType its name, %s, to do it: ", question, name)
	var answer string
	fmt.Fscanln(a.stdin, &answer)
	if answer != name {
		a.say("Nothing was done.")
		return errFailed
	}
	return nil
}
