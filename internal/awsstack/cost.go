package awsstack

import "math"

// Prices of us-east-1 in US dollars (AWS's price lists, November 2026). Other
// regions differ by up to a quarter.
const (
	priceZone           = 0.50                        // a month, of the first 25
	priceZoneMore       = 0.10                        // of each after that
	priceQueries        = 0.40 / 1e6                  // of the first 1,000 million a month
	priceQueriesMore    = 0.20 / 1e6                  // after that
	priceRequest        = 0.20 / 1e6                  // Lambda
	priceSecond         = 0.0000133334 * memoryOfFunc // Lambda on arm64
	memoryOfFunc        = 0.125                       // GB
	priceRead           = 0.125 / 1e6                 // unit of 4 KB, strongly consistent
	priceWrite          = 0.625 / 1e6                 // unit of 1 KB
	priceLog            = 0.50 / 1e9                  // octet
	freeRequests        = 1e6                         // a month
	freeSeconds         = 400000 / memoryOfFunc
	queriesAtFullPrice  = 1e9
	zonesAtFullPrice    = 25
	secondsOfRequest    = 0.02 // billed for one; not yet measured on AWS
	unitsOfChange       = 8    // two writes of an item of 4 KB
	unitsOfScan         = 0.5  // an item of 4 KB, eventually consistent
	octetsOfLine        = 600  // of log, for one change
	firingsOfSchedule   = 43200
	driftPasses         = 30
	checksOfHost        = 8640 // one in five minutes
	changesOfHost       = 30
	queriesOfHost       = 10000
	readUnitsOfOwnTable = 1
	readUnitsOfSeedRows = 3 // three keys are tried
)

// Load is what an installation has to do in a month.
type Load struct {
	Hosts, Zones int
	SeedRows     bool // the table was the reference implementation's
}

// Cost is an estimate for a month, in US dollars.
type Cost struct {
	DNS      float64 `json:"dns"` // hosted zones and queries
	Lambda   float64 `json:"lambda"`
	Reads    float64 `json:"reads"`
	Writes   float64 `json:"writes"`
	Rest     float64 `json:"rest"`      // the daily pass, the schedule's reads, logs
	FreeTier float64 `json:"free_tier"` // of Lambda; negative
	Total    float64 `json:"total"`
}

// Requests of a load in a month: each host checks its address every five minutes.
func (l Load) Requests() float64 { return float64(l.Hosts) * checksOfHost }

// Estimate says what a load costs in a month. It assumes for each host one check
// in five minutes, one family, 30 changes and 10,000 DNS queries a month.
func Estimate(l Load) Cost {
	hosts, requests := float64(l.Hosts), l.Requests()
	queries, changes := hosts*queriesOfHost, hosts*changesOfHost
	units := float64(readUnitsOfOwnTable)
	if l.SeedRows {
		units = readUnitsOfSeedRows
	}
	c := Cost{
		DNS: float64(min(l.Zones, zonesAtFullPrice))*priceZone + float64(max(l.Zones-zonesAtFullPrice, 0))*priceZoneMore +
			min(queries, queriesAtFullPrice)*priceQueries + max(queries-queriesAtFullPrice, 0)*priceQueriesMore,
		Lambda: requests * (priceRequest + secondsOfRequest*priceSecond),
		Reads:  requests * units * priceRead,
		Writes: changes * unitsOfChange * priceWrite,
		Rest:   (driftPasses*hosts+firingsOfSchedule)*unitsOfScan*priceRead + changes*octetsOfLine*priceLog,
	}
	c.FreeTier = 0 - (min(requests, freeRequests)*priceRequest + min(requests*secondsOfRequest, freeSeconds)*priceSecond)
	c.Total = c.DNS + c.Lambda + c.Reads + c.Writes + c.Rest + c.FreeTier
	for _, part := range []*float64{&c.DNS, &c.Lambda, &c.Reads, &c.Writes, &c.Rest, &c.FreeTier, &c.Total} {
		*part = math.Round(*part*1e4) / 1e4 // the hundredth of a cent, the same on every machine
	}
	return c
}
