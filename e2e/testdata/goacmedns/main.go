// goacmedns registers an account at an acme-dns API and adds values by it, with
// the library that its clients in Go have: goacmedns URL NETWORK VALUE... It says
// where the values are. NETWORK is where the account may be used from; "" does not
// say.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/nrdcg/goacmedns"
)

func main() {
	if err := run(context.Background(), os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, url, network string, values []string) error {
	var networks []string
	if network != "" {
		networks = []string{network}
	}
	client, err := goacmedns.NewClient(url)
	if err != nil {
		return err
	}
	account, err := client.RegisterAccount(ctx, networks)
	if err != nil {
		return err
	}
	for _, value := range values {
		if err := client.UpdateTXTRecord(ctx, account, value); err != nil {
			return err
		}
	}
	fmt.Println(account.FullDomain)
	return nil
}
