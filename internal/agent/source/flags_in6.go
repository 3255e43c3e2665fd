//go:build darwin || freebsd

package source

import (
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// From <netinet6/in6_var.h>, the same on both.
const (
	siocgifaflagIn6 = 0xc1206949 // _IOWR('i', 73, struct in6_ifreq)

	in6IffTentative  = 0x02
	in6IffDuplicated = 0x04
	in6IffDetached   = 0x08
	in6IffDeprecated = 0x10
	in6IffTemporary  = 0x80
)

// in6Ifreq is struct in6_ifreq: the address goes in, the flags come out in its
// place.
type in6Ifreq struct {
	name [unix.IFNAMSIZ]byte
	addr unix.RawSockaddrInet6
	_    [272 - unix.SizeofSockaddrInet6]byte
}

// unfit asks the kernel for the flags of an IPv6 address.
func unfit(iface string, a netip.Addr) (string, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM, 0)
	if err != nil {
		return "", os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	request := in6Ifreq{addr: unix.RawSockaddrInet6{Len: unix.SizeofSockaddrInet6, Family: unix.AF_INET6, Addr: a.As16()}}
	copy(request.name[:unix.IFNAMSIZ-1], iface)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), siocgifaflagIn6, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return "", os.NewSyscallError("ioctl SIOCGIFAFLAG_IN6", errno)
	}
	switch flags := *(*uint32)(unsafe.Pointer(&request.addr)); {
	case flags&in6IffTemporary != 0:
		return "temporary", nil
	case flags&(in6IffDuplicated|in6IffDetached) != 0:
		return "a duplicate or detached", nil
	case flags&in6IffDeprecated != 0:
		return "deprecated", nil
	case flags&in6IffTentative != 0:
		return "still tentative", nil
	}
	return "", nil
}
