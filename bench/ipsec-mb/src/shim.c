/* Bursts over ipsec-mb: AES-GCM through its direct interface, AES-CBC with HMAC through its
 * synchronous bursts. Layouts of the library's structures stay on this side. Every pointer was checked by the caller, who also
 * wrote header and IV in front of the text. */

#include <stdint.h>
#include <string.h>

#include <intel-ipsec-mb.h>

#define BURST 64
#define AAD_LEN 8
#define GCM_ICV_LEN 16
#define CBC_IV_LEN 16
#define MOST_ICV_LEN 32
#define MOST_BLOCK_LEN 128

/* One packet; same layout as RawPacket in lib.rs. The packet (header, IV, ciphertext, ICV) is around `out` to seal, around `in` to open. */
struct packet {
	const void *key;
	const uint8_t *in;
	uint8_t *out;
	uint64_t len;
	uint8_t nonce[16];
};

/* Key of one direction for AES-CBC with HMAC. */
struct cbc_key {
	uint8_t rounds[16 * 15];
	uint8_t inner[64];
	uint8_t outer[64];
} __attribute__((aligned(64)));

/* Which algorithm; same layout as RawSuite in lib.rs. */
struct suite {
	uint32_t cipher_key_len;
	uint32_t hash; /* 1, 256, 384 or 512; 0 for AES-GCM */
	uint32_t icv_len;
};

IMB_MGR *culvert_imb_new(void)
{
	IMB_MGR *mgr = alloc_mb_mgr(0);
	if (mgr != NULL)
		init_mb_mgr_auto(mgr, NULL);
	return mgr;
}

void culvert_imb_free(IMB_MGR *mgr)
{
	free_mb_mgr(mgr);
}

uint64_t culvert_imb_key_size(const struct suite *suite)
{
	return suite->hash == 0 ? sizeof(struct gcm_key_data) : sizeof(struct cbc_key);
}

/* Nothing of `a` and `b` but whether they are equal decides how long this takes. */
static int equal(const uint8_t *a, const uint8_t *b, uint32_t len)
{
	uint8_t difference = 0;
	for (uint32_t i = 0; i < len; i++)
		difference |= a[i] ^ b[i];
	return difference == 0;
}

static void expand_gcm(IMB_MGR *mgr, uint32_t len, const uint8_t *key, struct gcm_key_data *out)
{
	if (len == 16)
		IMB_AES128_GCM_PRE(mgr, key, out);
	else if (len == 24)
		IMB_AES192_GCM_PRE(mgr, key, out);
	else
		IMB_AES256_GCM_PRE(mgr, key, out);
}

static void half_hmac(IMB_MGR *mgr, uint32_t hash, const uint8_t *key, uint32_t len, uint8_t pad, uint8_t *out)
{
	uint8_t block[MOST_BLOCK_LEN];
	memset(block, pad, sizeof(block));
	for (uint32_t i = 0; i < len; i++)
		block[i] ^= key[i];
	if (hash == 1)
		IMB_SHA1_ONE_BLOCK(mgr, block, out);
	else if (hash == 256)
		IMB_SHA256_ONE_BLOCK(mgr, block, out);
	else if (hash == 384)
		IMB_SHA384_ONE_BLOCK(mgr, block, out);
	else
		IMB_SHA512_ONE_BLOCK(mgr, block, out);
}

static void expand_cbc(IMB_MGR *mgr, const struct suite *suite, int seal, const uint8_t *key, struct cbc_key *out)
{
	uint8_t other[16 * 15];
	void *encrypt = seal ? out->rounds : other, *decrypt = seal ? other : out->rounds;
	uint32_t auth_len = suite->hash == 1 ? 20 : suite->hash / 8;
	if (suite->cipher_key_len == 16)
		IMB_AES_KEYEXP_128(mgr, key, encrypt, decrypt);
	else if (suite->cipher_key_len == 24)
		IMB_AES_KEYEXP_192(mgr, key, encrypt, decrypt);
	else
		IMB_AES_KEYEXP_256(mgr, key, encrypt, decrypt);
	half_hmac(mgr, suite->hash, key + suite->cipher_key_len, auth_len, 0x36, out->inner);
	half_hmac(mgr, suite->hash, key + suite->cipher_key_len, auth_len, 0x5c, out->outer);
}

void culvert_imb_expand(IMB_MGR *mgr, const struct suite *suite, int seal, const uint8_t *key, void *out)
{
	if (suite->hash == 0)
		expand_gcm(mgr, suite->cipher_key_len, key, out);
	else
		expand_cbc(mgr, suite, seal, key, out);
}

static uint64_t gcm_burst(aes_gcm_enc_dec_t work, int seal, const struct packet *packets, uint64_t count)
{
	struct gcm_context_data state;
	uint64_t right = 0;
	for (uint64_t i = 0; i < count; i++) {
		const struct packet *p = &packets[i];
		const uint8_t *text = seal ? p->out : p->in;
		uint8_t computed[GCM_ICV_LEN];
		uint8_t *icv = seal ? p->out + p->len : computed;
		work(p->key, &state, p->out, p->in, p->len, p->nonce, text - 8 - AAD_LEN, AAD_LEN, icv, GCM_ICV_LEN);
		right += seal || equal(computed, p->in + p->len, GCM_ICV_LEN);
	}
	return right;
}

static IMB_HASH_ALG hash_of(uint32_t hash)
{
	return hash == 1 ? IMB_AUTH_HMAC_SHA_1
	     : hash == 256 ? IMB_AUTH_HMAC_SHA_256
	     : hash == 384 ? IMB_AUTH_HMAC_SHA_384
			   : IMB_AUTH_HMAC_SHA_512;
}

/* The hash covers the packet from its header to the end of the ciphertext. The library counts its begin from `src` in wrapping
 * arithmetic, so that it can lie in another buffer, as DPDK's driver does it. */
static void fill(IMB_JOB *job, const struct suite *suite, int seal, const struct packet *p, uint8_t *icv)
{
	const struct cbc_key *key = p->key;
	const uint8_t *text = seal ? p->out : p->in;
	const uint8_t *packet = text - CBC_IV_LEN - AAD_LEN;
	job->enc_keys = key->rounds;
	job->dec_keys = key->rounds;
	job->key_len_in_bytes = suite->cipher_key_len;
	job->src = p->in;
	job->dst = p->out;
	job->cipher_start_src_offset_in_bytes = 0;
	job->msg_len_to_cipher_in_bytes = p->len;
	job->hash_start_src_offset_in_bytes = (uint64_t)(uintptr_t)packet - (uint64_t)(uintptr_t)p->in;
	job->msg_len_to_hash_in_bytes = AAD_LEN + CBC_IV_LEN + p->len;
	job->iv = text - CBC_IV_LEN;
	job->iv_len_in_bytes = CBC_IV_LEN;
	job->auth_tag_output = icv;
	job->auth_tag_output_len_in_bytes = suite->icv_len;
	job->u.HMAC._hashed_auth_key_xor_ipad = key->inner;
	job->u.HMAC._hashed_auth_key_xor_opad = key->outer;
	job->status = IMB_STATUS_BEING_PROCESSED;
	job->cipher_mode = IMB_CIPHER_CBC;
	job->cipher_direction = seal ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
	job->hash_alg = hash_of(suite->hash);
	job->chain_order = seal ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
}

/* The library's bursts of one algorithm beat its chained jobs by up to 11 % here, at every length and hash that we measure. */
static uint32_t cipher(IMB_MGR *mgr, const struct suite *suite, int seal, IMB_JOB *jobs, uint32_t count)
{
	IMB_CIPHER_DIRECTION direction = seal ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
	IMB_KEY_SIZE_BYTES key_size = (IMB_KEY_SIZE_BYTES)suite->cipher_key_len;
	return IMB_SUBMIT_CIPHER_BURST_NOCHECK(mgr, jobs, count, IMB_CIPHER_CBC, direction, key_size);
}

static uint32_t hash(IMB_MGR *mgr, const struct suite *suite, IMB_JOB *jobs, uint32_t count)
{
	return IMB_SUBMIT_HASH_BURST_NOCHECK(mgr, jobs, count, hash_of(suite->hash));
}

static uint64_t cbc_burst(IMB_MGR *mgr, const struct suite *suite, int seal, const struct packet *packets, uint32_t count)
{
	uint8_t computed[BURST][MOST_ICV_LEN];
	IMB_JOB jobs[BURST];
	for (uint32_t i = 0; i < count; i++)
		fill(&jobs[i], suite, seal, &packets[i], seal ? packets[i].out + packets[i].len : computed[i]);
	if (seal)
		return cipher(mgr, suite, seal, jobs, count) == count ? hash(mgr, suite, jobs, count) : 0;
	if (hash(mgr, suite, jobs, count) < count)
		return 0;
	uint64_t right = 0;
	for (uint32_t i = 0; i < count; i++)
		right += equal(computed[i], packets[i].in + packets[i].len, suite->icv_len);
	/* A driver would take the wrong ones out first; here one is enough to end the measurement. */
	if (right < count || cipher(mgr, suite, seal, jobs, count) < count)
		return 0;
	return right;
}

/* The packets whose ICV was right, or that were sealed. At most BURST of them. */
uint64_t culvert_imb_burst(IMB_MGR *mgr, const struct suite *suite, int seal, const struct packet *packets, uint64_t count)
{
	if (count > BURST)
		return 0;
	if (suite->hash != 0)
		return cbc_burst(mgr, suite, seal, packets, (uint32_t)count);
	if (suite->cipher_key_len == 16)
		return gcm_burst(seal ? mgr->gcm128_enc : mgr->gcm128_dec, seal, packets, count);
	if (suite->cipher_key_len == 24)
		return gcm_burst(seal ? mgr->gcm192_enc : mgr->gcm192_dec, seal, packets, count);
	return gcm_burst(seal ? mgr->gcm256_enc : mgr->gcm256_dec, seal, packets, count);
}
