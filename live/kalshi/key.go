package kalshi

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"
)

// Key is an API key. It prints as its id, never as itself.
type Key struct {
	id   string
	priv *rsa.PrivateKey
}

// String is the key's id.
func (k *Key) String() string { return "kalshi key " + k.id }

// GoString is String.
func (k *Key) GoString() string { return k.String() }

// LogValue is String.
func (k *Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalJSON is String.
func (k *Key) MarshalJSON() ([]byte, error) { return []byte(strconv.Quote(k.String())), nil }

// ParseKey reads a private key in PEM as the venue hands it out. Errors say what is wrong and nothing of its content.
func ParseKey(id string, pemText []byte) (*Key, error) {
	if id == "" {
		return nil, errors.New("kalshi: a private key without its key id: set both")
	}
	block, _ := pem.Decode(pemText)
	if block == nil {
		return nil, errors.New("kalshi: the private key is not PEM: it begins with -----BEGIN ... PRIVATE KEY-----")
	}
	var key any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "PUBLIC KEY", "RSA PUBLIC KEY":
		return nil, errors.New("kalshi: this is a public key: the private one is needed")
	case "ENCRYPTED PRIVATE KEY":
		return nil, errors.New("kalshi: the private key is encrypted: decrypt it first (openssl pkey)")
	default:
		return nil, fmt.Errorf("kalshi: a PEM block of type %q where an RSA private key belongs", block.Type)
	}
	if err != nil {
		return nil, errors.New("kalshi: the private key's PEM block does not hold what its type says")
	}
	priv, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("kalshi: a private key of type %T: the venue takes RSA keys", key)
	}
	if priv.N.BitLen() < 2048 {
		return nil, fmt.Errorf("kalshi: an RSA key of %d bits: the venue's have 2048 or more", priv.N.BitLen())
	}
	return &Key{id, priv}, nil
}

// Sign adds the three headers of an authenticated request: RSA-PSS with SHA-256 and a salt of the digest's length over
// milliseconds, method and path without the query (docs.kalshi.com, API keys).
func (k *Key) Sign(h http.Header, method, path string) {
	stamp := strconv.FormatInt(time.Now().UnixMilli(), 10)
	sum := sha256.Sum256([]byte(stamp + method + path))
	sig, err := rsa.SignPSS(rand.Reader, k.priv, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	if err != nil {
		panic("kalshi: signing failed with a key that ParseKey took")
	}
	h.Set("KALSHI-ACCESS-KEY", k.id)
	h.Set("KALSHI-ACCESS-TIMESTAMP", stamp)
	h.Set("KALSHI-ACCESS-SIGNATURE", base64.StdEncoding.EncodeToString(sig))
}
