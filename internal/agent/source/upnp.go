package source

import (
	"bufio"
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"godwit/internal/agent"
)

// What a router may send. Descriptions of real ones have 3 to 20 KiB.
const (
	descriptionLimit = 256 << 10
	soapLimit        = 16 << 10
	connectionLimit  = 4 // WAN connections that are asked
	upnpTimeout      = 3 * time.Second
)

// searches are SSDP searches for either version of an Internet gateway (UPnP
// Device Architecture 2.0 section 1.3.2).
var searches = [...]string{
	"urn:schemas-upnp-org:device:InternetGatewayDevice:1",
	"urn:schemas-upnp-org:device:InternetGatewayDevice:2",
}

// askUPnP searches the gateway, reads its description, and asks its WAN
// connections for their address. Only the gateway itself is believed, and only
// its own address is called: an answer cannot send us to another device. Clients
// that exist go wherever an answer points, which is why this is our own.
func askUPnP(ctx context.Context, gateway netip.Addr) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*upnpTimeout)
	defer cancel()
	location, err := discover(ctx, gateway)
	if err != nil {
		return netip.Addr{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, location.String(), nil)
	if err != nil {
		return netip.Addr{}, err
	}
	client := newClient("tcp4", upnpTimeout)
	data, err := fetch(client, request, descriptionLimit)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("description: %w", err)
	}
	connections, err := parseDescription(data, location, gateway)
	if err != nil {
		return netip.Addr{}, err
	}
	var failures []error
	for _, c := range connections {
		addr, err := c.externalAddress(ctx, client)
		if err == nil {
			return addr, nil
		}
		failures = append(failures, fmt.Errorf("%s: %w", c.service, err))
	}
	return netip.Addr{}, errors.Join(failures...)
}

// discover finds where the gateway's description is.
func discover(ctx context.Context, gateway netip.Addr) (*url.URL, error) {
	toward, err := dialGateway(ctx, gateway) // only to learn our address on its side
	if err != nil {
		return nil, err
	}
	toward.Close()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: toward.LocalAddr().(*net.UDPAddr).IP})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()

	buffer := make([]byte, 4<<10)
	for _, pause := range [...]time.Duration{time.Second, 2 * time.Second} {
		sent := false
		// By multicast as the standard has it, and to the gateway itself, because
		// stateful firewalls let only that one's answer in.
		for _, to := range []netip.Addr{netip.AddrFrom4([4]byte{239, 255, 255, 250}), gateway} {
			for _, target := range searches {
				search := "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: " + target + "\r\n\r\n"
				_, err = conn.WriteToUDPAddrPort([]byte(search), netip.AddrPortFrom(to, 1900))
				sent = sent || err == nil
			}
		}
		if !sent {
			return nil, err
		}
		if err := conn.SetReadDeadline(time.Now().Add(pause)); err != nil {
			return nil, err
		}
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buffer)
			if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
				break
			}
			if err != nil {
				return nil, err
			}
			if from.Addr().Unmap() != gateway {
				continue
			}
			if location, err := parseSearchReply(buffer[:n], gateway); err == nil {
				return location, nil
			}
		}
	}
	return nil, errSilent
}

// parseSearchReply returns the LOCATION of an Internet gateway, which is at the
// gateway's own address.
func parseSearchReply(datagram []byte, gateway netip.Addr) (*url.URL, error) {
	reply, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(datagram)), nil)
	if err != nil {
		return nil, err
	}
	if reply.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", reply.StatusCode)
	}
	if st := reply.Header.Get("St"); st != searches[0] && st != searches[1] {
		return nil, fmt.Errorf("it is a %.100q", st)
	}
	location, err := url.Parse(reply.Header.Get("Location"))
	if err != nil {
		return nil, err
	}
	return location, checkRouterURL(location, gateway)
}

func checkRouterURL(u *url.URL, gateway netip.Addr) error {
	if host, err := netip.ParseAddr(u.Hostname()); err != nil || host != gateway || u.Scheme != "http" || u.User != nil {
		return fmt.Errorf("the router sends to %.100q, which is not its own address", u)
	}
	return nil
}

// connection is a service with the action GetExternalIPAddress.
type connection struct {
	service string // its type
	control *url.URL
}

type device struct {
	Services []struct {
		Type    string `xml:"serviceType"`
		Control string `xml:"controlURL"`
	} `xml:"serviceList>service"`
	Devices []device `xml:"deviceList>device"`
}

// parseDescription returns the WAN connections of a device description, at most
// connectionLimit, whose control URLs are at the gateway's own address.
func parseDescription(data []byte, location *url.URL, gateway netip.Addr) ([]connection, error) {
	var root struct {
		Base   string `xml:"URLBase"`
		Device device `xml:"device"`
	}
	if err := xml.Unmarshal(data, &root); err != nil {
		return nil, fmt.Errorf("description: %w", err)
	}
	base := location
	if root.Base != "" {
		var err error
		if base, err = url.Parse(strings.TrimSpace(root.Base)); err != nil {
			return nil, fmt.Errorf("description: %w", err)
		}
	}
	var out []connection
	for queue := []device{root.Device}; len(queue) > 0 && len(out) < connectionLimit; queue = queue[1:] {
		queue = append(queue, queue[0].Devices...)
		for _, s := range queue[0].Services {
			switch s.Type = strings.TrimSpace(s.Type); s.Type {
			case "urn:schemas-upnp-org:service:WANIPConnection:1", "urn:schemas-upnp-org:service:WANIPConnection:2",
				"urn:schemas-upnp-org:service:WANPPPConnection:1":
			default:
				continue
			}
			control, err := base.Parse(strings.TrimSpace(s.Control))
			if err != nil {
				return nil, fmt.Errorf("description: %w", err)
			}
			if err := checkRouterURL(control, gateway); err != nil {
				return nil, err
			}
			if len(out) < connectionLimit {
				out = append(out, connection{s.Type, control})
			}
		}
	}
	if len(out) == 0 {
		return nil, errors.New("the router describes no WAN connection")
	}
	return out, nil
}

// externalAddress calls GetExternalIPAddress.
func (c connection) externalAddress(ctx context.Context, client *http.Client) (netip.Addr, error) {
	body := `<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" ` +
		`s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body><u:GetExternalIPAddress xmlns:u="` + c.service + `"/></s:Body></s:Envelope>`
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.control.String(), strings.NewReader(body))
	if err != nil {
		return netip.Addr{}, err
	}
	request.Header.Set("Content-Type", `text/xml; charset="utf-8"`)
	request.Header["SOAPAction"] = []string{`"` + c.service + `#GetExternalIPAddress"`} // some routers mind the case
	data, err := fetch(client, request, soapLimit)
	if err != nil {
		return netip.Addr{}, err
	}
	return parseExternalAddress(data)
}

// parseExternalAddress reads the answer of GetExternalIPAddress.
func parseExternalAddress(data []byte) (netip.Addr, error) {
	var envelope struct {
		Address []string `xml:"Body>GetExternalIPAddressResponse>NewExternalIPAddress"`
	}
	if err := xml.Unmarshal(data, &envelope); err != nil {
		return netip.Addr{}, err
	}
	if len(envelope.Address) != 1 {
		return netip.Addr{}, fmt.Errorf("the answer has %d addresses, not one", len(envelope.Address))
	}
	text := strings.TrimSpace(envelope.Address[0])
	addr, err := netip.ParseAddr(text)
	if text == "" || addr.IsUnspecified() {
		return netip.Addr{}, errors.New("the router names no address: it is not connected, or itself behind NAT or CGNAT")
	}
	if err != nil || !addr.Is4() {
		return netip.Addr{}, fmt.Errorf("the answer is %.64q, not an %s address", text, agent.IPv4)
	}
	return addr, nil
}
