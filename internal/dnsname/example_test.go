package dnsname_test

import (
	"fmt"

	"godwit/internal/dnsname"
)

func Example() {
	owner, err := dnsname.ParseHost("NAS.Bücher.Example.")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(owner)
	fmt.Println(owner.Under(dnsname.MustParse("example")), owner.Under(dnsname.MustParse("cher.example")))

	_, err = dnsname.ParseHost("192.0.2.1")
	fmt.Println(err)

	// Output:
	// nas.xn--bcher-kva.example
	// true false
	// name "192.0.2.1": ends in a number and looks like an address; give a name, not an address
}

func ExampleName_Labels() {
	for label := range dnsname.MustParse(`first\.last.example.org`).Labels() {
		fmt.Println(label)
	}
	// Output:
	// first.last
	// example
	// org
}

func ExampleName_Child() {
	owner := dnsname.MustParse("nas.dyn.example.com")
	challenge, err := owner.Child("_acme-challenge")
	fmt.Println(challenge.FQDN(), err)
	// Output: _acme-challenge.nas.dyn.example.com. <nil>
}
