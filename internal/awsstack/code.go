package awsstack

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Architectures of the function, in CloudFormation's words.
const (
	ARM64 = "arm64"
	AMD64 = "x86_64"
)

// MaxZip is how long a function's zip may be, in octets; ours has a tenth.
const MaxZip = 64 << 20

// maxBootstrap is what Lambda takes unzipped, in octets.
const maxBootstrap = 250 << 20

// CheckZip reads a function's zip and says for which architecture it is. Errors
// say what is wrong with it and how to make one.
func CheckZip(data []byte) (architecture string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w; make one with: make lambda-zip", err)
		}
	}()
	if len(data) > MaxZip {
		return "", fmt.Errorf("the function's zip has %d octets, more than %d", len(data), MaxZip)
	}
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return "", fmt.Errorf("the function's zip cannot be read: %w", err)
	}
	for _, file := range archive.File {
		if file.Name != "bootstrap" {
			continue
		}
		if file.Mode()&0o111 == 0 {
			return "", errors.New("bootstrap in the function's zip may not be executed")
		}
		if file.UncompressedSize64 > maxBootstrap {
			return "", fmt.Errorf("bootstrap in the function's zip has %d octets, more than %d", file.UncompressedSize64, maxBootstrap)
		}
		return machine(file)
	}
	return "", errors.New("the function's zip holds no bootstrap")
}

// machine reads the start of a program (ELF header: 64 octets).
func machine(file *zip.File) (string, error) {
	content, err := file.Open()
	if err != nil {
		return "", fmt.Errorf("bootstrap in the function's zip cannot be read: %w", err)
	}
	defer content.Close()
	var header elf.Header64
	if _, err := io.ReadFull(content, header.Ident[:]); err != nil || string(header.Ident[:4]) != elf.ELFMAG ||
		elf.Class(header.Ident[elf.EI_CLASS]) != elf.ELFCLASS64 || elf.Data(header.Ident[elf.EI_DATA]) != elf.ELFDATA2LSB {
		return "", errors.New("bootstrap in the function's zip is no program for Linux")
	}
	var rest [4]byte // type and machine, little-endian
	if _, err := io.ReadFull(content, rest[:]); err != nil {
		return "", errors.New("bootstrap in the function's zip is cut short")
	}
	switch m := elf.Machine(uint16(rest[2]) | uint16(rest[3])<<8); m {
	case elf.EM_AARCH64:
		return ARM64, nil
	case elf.EM_X86_64:
		return AMD64, nil
	default:
		return "", fmt.Errorf("bootstrap in the function's zip is for %s, and Lambda runs arm64 and x86-64", m)
	}
}

// code finds the function's zip: the one that is given, or the one that this
// program carries. architecture is the one wanted, "" any.
func code(given []byte, architecture string) (data []byte, _ string, err error) {
	if given == nil {
		if architecture == "" {
			architecture = ARM64 // the cheaper one
		}
		if given = embedded(architecture); given == nil {
			return nil, "", errors.New("this build carries no function; make one with make lambda-zip and add --function-zip dist/godwit-lambda-arm64.zip")
		}
	}
	is, err := CheckZip(given)
	if err == nil && architecture != "" && architecture != is {
		err = fmt.Errorf("the function's zip is for %s, not for %s; give the other zip, or add --arch %[1]s", is, architecture)
	}
	return given, is, err
}

// upload puts the function's zip into the bucket for code and returns where it
// is. The key is the content's hash, so that nothing is ever replaced.
func (s *Stack) upload(ctx context.Context, account string, data []byte) (bucket, key string, err error) {
	bucket = "godwit-code-" + account + "-" + s.AWS.Region
	if err := s.ownBucket(ctx, account, bucket); err != nil {
		return "", "", err
	}
	sum := sha256.Sum256(data)
	key = "godwit-lambda/" + hex.EncodeToString(sum[:]) + ".zip"
	_, err = s.buckets.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: &key, ExpectedBucketOwner: &account})
	if err == nil {
		return bucket, key, nil
	}
	if status(err) != http.StatusNotFound {
		return "", "", fmt.Errorf("look for the function's zip in %s: %w", bucket, brief(err))
	}
	_, err = s.buckets.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &bucket, Key: &key, ExpectedBucketOwner: &account, Body: bytes.NewReader(data), ContentType: aws.String("application/zip"),
		ChecksumSHA256: aws.String(base64.StdEncoding.EncodeToString(sum[:])),
	})
	if err != nil {
		return "", "", fmt.Errorf("put the function's zip into %s: %w", bucket, brief(err))
	}
	s.Say("Put the function (%.1f MiB) into the bucket %s.", float64(len(data))/(1<<20), bucket)
	return bucket, key, nil
}

// ownBucket makes the bucket once, and sees each time that it is this account's
// and private: its name can be guessed, and who made it first elsewhere could
// give us code of his own.
func (s *Stack) ownBucket(ctx context.Context, account, bucket string) error {
	_, err := s.buckets.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &bucket, ExpectedBucketOwner: &account})
	switch status(err) {
	case http.StatusNotFound:
		in := &s3.CreateBucketInput{Bucket: &bucket}
		if s.AWS.Region != "us-east-1" { // which has no name as a constraint
			in.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(s.AWS.Region)}
		}
		if _, err = s.buckets.CreateBucket(ctx, in); err != nil {
			return fmt.Errorf("make the bucket %s: %w", bucket, brief(err))
		}
		s.Say("Made the private bucket %s for the function's code.", bucket)
	case http.StatusForbidden:
		return fmt.Errorf("the bucket %s belongs to another account, or may not be read by you; use another account or region, or see docs/aws.md for the policy", bucket)
	default:
		if err != nil {
			return fmt.Errorf("look for the bucket %s: %w", bucket, brief(err))
		}
	}
	_, err = s.buckets.PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{Bucket: &bucket, ExpectedBucketOwner: &account,
		PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
			BlockPublicAcls: aws.Bool(true), BlockPublicPolicy: aws.Bool(true), IgnorePublicAcls: aws.Bool(true), RestrictPublicBuckets: aws.Bool(true),
		}})
	if err != nil {
		return fmt.Errorf("keep the public out of the bucket %s: %w", bucket, brief(err))
	}
	_, err = s.buckets.PutBucketEncryption(ctx, &s3.PutBucketEncryptionInput{Bucket: &bucket, ExpectedBucketOwner: &account,
		ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{Rules: []types.ServerSideEncryptionRule{
			{ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{SSEAlgorithm: types.ServerSideEncryptionAes256}},
		}}})
	if err != nil {
		return fmt.Errorf("encrypt the bucket %s: %w", bucket, brief(err))
	}
	return nil
}

// status is the HTTP status of an answer that is an error, 0 if there is none.
func status(err error) int {
	var answer *smithyhttp.ResponseError
	if errors.As(err, &answer) {
		return answer.HTTPStatusCode()
	}
	return 0
}
