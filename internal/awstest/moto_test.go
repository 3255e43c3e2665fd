package awstest_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"godwit/internal/awstest"
)

// holdMoto tells this test's program to start moto, to say where, and to stay.
const holdMoto = "AWSTEST_HOLD_MOTO"

// TestMotoEnds: moto does not outlive a test that could clean up nothing.
func TestMotoEnds(t *testing.T) {
	if os.Getenv(holdMoto) != "" {
		fmt.Println(awstest.StartMoto(t))
		select {}
	}
	if _, err := exec.LookPath("moto_server"); err != nil {
		t.Skip(`moto_server not found; install it with: pip install "moto[server]"`)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-test.run=^TestMotoEnds$")
	cmd.Env = append(os.Environ(), holdMoto+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	at, ok := strings.CutPrefix(strings.TrimSpace(line), "http://")
	var conn net.Conn
	if ok {
		conn, err = net.Dial("tcp", at)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // killed
	if conn == nil {
		t.Fatalf("%q, %v", line, err)
	}
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); err == nil { // moto says nothing unasked: its end is what comes
		t.Error("moto has answered")
	}
}
